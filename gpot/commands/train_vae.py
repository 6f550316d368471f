"""Train the VAE of a dataset and encode its images (or find both in the store).

    gpot train-vae dataset=dsprites models=paper device=gpu

Writes outputs/artifacts/vae/<key>/ and outputs/artifacts/latents/<key>/.
"""

from gpot.commands._making import makes

main = makes("train_vae", lambda stages: stages.vae, lambda stages: stages.points)

if __name__ == "__main__":
    main()
