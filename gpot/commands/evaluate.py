"""Measure the frozen flow with the config's GP flow: disentanglement, cost, likelihood, energy, certificate.

    gpot evaluate gp=ridge penalty=none upstream=make

Writes outputs/artifacts/evaluate/<key>/metrics.json.
"""

from gpot.commands._making import makes
from gpot.stages.evaluate import evaluate_stage

main = makes("evaluate", lambda config: evaluate_stage(config, config.gp_row))

if __name__ == "__main__":
    main()
