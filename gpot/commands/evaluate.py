"""Measure the frozen flow with the config's GP flow: disentanglement, cost, likelihood, energy, certificate.

    gpot evaluate gp=ridge penalty=none upstream=make

Writes outputs/artifacts/evaluate/<key>/metrics.json.
"""

from gpot.commands._making import makes

main = makes("evaluate", lambda stages: stages.evaluation(stages.config.gp_row))

if __name__ == "__main__":
    main()
