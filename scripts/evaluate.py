"""Measure the frozen flow with the config's GP flow: disentanglement, cost, likelihood, energy, certificate.

    python scripts/evaluate.py gp=ridge penalty=none upstream=make

Writes outputs/artifacts/evaluate/<key>/metrics.json.
"""

from gpot.commands.evaluate import main

if __name__ == "__main__":
    main()
