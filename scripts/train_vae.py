"""Train the VAE of a dataset and encode its images (or find both in the store).

    python scripts/train_vae.py dataset=dsprites models=paper device=gpu

Writes outputs/artifacts/vae/<key>/ and outputs/artifacts/latents/<key>/.
"""

from gpot.commands.train_vae import main

if __name__ == "__main__":
    main()
