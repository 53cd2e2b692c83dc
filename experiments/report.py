"""Writes the report of a run: `python -m experiments.report` is `dreamjax report`."""

import sys

from dreamjax.commands.report import main

if __name__ == "__main__":
    sys.exit(main())
