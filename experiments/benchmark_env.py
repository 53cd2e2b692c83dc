"""Measures the speed of Tetris: `python -m experiments.benchmark_env`, see `experiments/benchmarks/environments.py`."""

import sys

from experiments.benchmarks.environments import main

if __name__ == "__main__":
    sys.exit(main())
