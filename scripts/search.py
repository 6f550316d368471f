"""Search for hyper-parameters of the GP flow with Optuna; the same command goes on with its study.

    python scripts/search.py dataset=two_moons gp=toy_ridge penalty=none search.trials=30

Writes the study into outputs/searches/<name>.db and each trial's GP flow into outputs/artifacts/gp/<key>/.
"""

from gpot.commands.search import main

if __name__ == "__main__":
    main()
