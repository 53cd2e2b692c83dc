"""Writes, compares and plots scores: `python -m experiments.scores` is `dreamjax scores`."""

import sys

from dreamjax.commands.scores import main

if __name__ == "__main__":
    sys.exit(main())
