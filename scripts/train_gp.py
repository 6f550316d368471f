"""Train the Gaussian-preserving flow of a frozen flow (or find it in the store).

    python scripts/train_gp.py gp=ridge penalty=euler_latent upstream=make

Writes outputs/artifacts/gp/<key>/.
"""

from gpot.config import Config, entry
from gpot.stages.common import open_store
from gpot.stages.gp import gp_stage


@entry("train_gp")
def main(config: Config) -> None:
    print(gp_stage(config, open_store(config)).folder)


if __name__ == "__main__":
    main()
