"""Turn a trained flow into a Monge map, without changing its density.

    python scripts/monge.py flow.py:load points.csv

Writes the map and its report to the folder `--out`, for `gpot.load(folder, flow)`.
"""

import sys

from gpot.commands.monge import main

if __name__ == "__main__":
    sys.exit(main())
