"""Compares with model-free agents: `python -m experiments.compare`, see `experiments/baselines/compare.py`."""

import sys

from experiments.baselines.compare import main

if __name__ == "__main__":
    sys.exit(main())
