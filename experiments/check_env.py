"""Checks an environment: `python -m experiments.check_env` is `dreamjax check-env`."""

import sys

from dreamjax.commands.check_env import main

if __name__ == "__main__":
    sys.exit(main())
