"""Plots a metric of several runs: `python -m experiments.plot` is `dreamjax plot`."""

import sys

from dreamjax.commands.plot import main

if __name__ == "__main__":
    sys.exit(main())
