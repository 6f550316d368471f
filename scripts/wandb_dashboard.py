"""Create the W&B workspace and report of the project, or bring them up to date.

    python scripts/wandb_dashboard.py --dry-run            # writes outputs/wandb/dashboard.json and sends nothing
    python scripts/wandb_dashboard.py --entity my-team     # needs an API key (wandb login)
    python scripts/wandb_dashboard.py --check              # names in the offline runs against those of the dashboard

Without an API key it is a dry run.
"""

import sys

from gpot.commands.wandb_dashboard import main

if __name__ == "__main__":
    sys.exit(main())
