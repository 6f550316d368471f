"""Train the Gaussian-preserving flow of a frozen flow (or find it in the store).

    python scripts/train_gp.py gp=ridge penalty=euler_latent upstream=make

Writes outputs/artifacts/gp/<key>/.
"""

from gpot.commands.train_gp import main

if __name__ == "__main__":
    main()
