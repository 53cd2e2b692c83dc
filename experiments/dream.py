"""Draws what a world model predicts: `python -m experiments.dream` is `dreamjax dream`."""

import sys

from dreamjax.commands.dream import main

if __name__ == "__main__":
    sys.exit(main())
