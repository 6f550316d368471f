"""The report page: one HTML file with every table and figure that has been made, printed beside reproduced.

    python scripts/page.py

Reads outputs/report alone, and writes outputs/report/index.html there.
"""

from gpot.commands.page import main

if __name__ == "__main__":
    main()
