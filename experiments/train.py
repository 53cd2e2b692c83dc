"""Trains an agent: `python -m experiments.train` is `dreamjax train`."""

import sys

from dreamjax.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
