"""Plays Tetris in the terminal: `python -m experiments.play` is `dreamjax play`."""

import sys

from dreamjax.commands.play import main

if __name__ == "__main__":
    sys.exit(main())
