"""Train the Gaussian-preserving flow of a frozen flow (or find it in the store).

    gpot train-gp gp=ridge penalty=euler_latent upstream=make

Writes outputs/artifacts/gp/<key>/.
"""

from gpot.commands._making import makes

main = makes("train_gp", lambda stages: stages.gp)

if __name__ == "__main__":
    main()
