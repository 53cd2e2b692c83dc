"""Makes a shipped agent out of a run: `python -m experiments.ship` is `dreamjax ship`."""

import sys

from dreamjax.commands.ship import main

if __name__ == "__main__":
    sys.exit(main())
