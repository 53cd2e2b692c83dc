"""Writes the replay of a run as NPZ: `python -m experiments.export` is `dreamjax export`."""

import sys

from dreamjax.commands.export import main

if __name__ == "__main__":
    sys.exit(main())
