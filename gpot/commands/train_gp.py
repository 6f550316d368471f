"""Train the Gaussian-preserving flow of a frozen flow (or find it in the store).

    gpot train-gp gp=ridge penalty=euler_latent upstream=make

Writes outputs/artifacts/gp/<key>/.
"""

from gpot.commands._making import makes
from gpot.stages.gp import gp_stage

main = makes("train_gp", gp_stage)

if __name__ == "__main__":
    main()
