"""Summarize sweeps: mean and spread over seeds, and the plot that answers the question; from artefacts alone.

    python scripts/sweep_summary.py
    python scripts/sweep_summary.py outputs/multirun/lambda

Without a folder, every sweep in outputs/multirun. Writes outputs/report/sweeps/<name>.md, .csv, .json, .png and .pdf.
"""

from gpot.commands.sweep_summary import main

if __name__ == "__main__":
    main()
