"""Shows a dream of a shipped agent: `python -m experiments.demo` is `dreamjax demo`."""

import sys

from dreamjax.commands.demo import main

if __name__ == "__main__":
    sys.exit(main())
