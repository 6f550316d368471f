"""Train the normalizing flow on the codes of the VAE (or find it in the store).

    python scripts/train_flow.py models=paper device=gpu upstream=make

Writes outputs/artifacts/flow/<key>/.
"""

from gpot.commands.train_flow import main

if __name__ == "__main__":
    main()
