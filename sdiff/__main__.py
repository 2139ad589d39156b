"""`python -m sdiff`, as the command `sdiff`."""

import sys

from sdiff.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
