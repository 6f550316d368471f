"""Sweeps: the record of each job, the summary over repetitions, and the search by Optuna."""
