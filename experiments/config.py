"""Lists the fields of a configuration: `python -m experiments.config` is `dreamjax config`."""

import sys

from dreamjax.commands.config import main

if __name__ == "__main__":
    sys.exit(main())
