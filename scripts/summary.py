"""Say what was reproduced, how close, in how long: from the results in `paths.report`.

    python scripts/summary.py

Writes outputs/report/summary.md.
"""

from gpot.commands.summary import main

if __name__ == "__main__":
    main()
