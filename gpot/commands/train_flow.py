"""Train the normalizing flow on the codes of the VAE (or find it in the store).

    gpot train-flow models=paper device=gpu upstream=make

Writes outputs/artifacts/flow/<key>/.
"""

from gpot.commands._making import makes

main = makes("train_flow", lambda stages: stages.flow)

if __name__ == "__main__":
    main()
