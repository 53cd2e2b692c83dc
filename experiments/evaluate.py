"""Measures a trained agent: `python -m experiments.evaluate` is `dreamjax evaluate`."""

import sys

from dreamjax.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
