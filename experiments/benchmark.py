"""Measures speed: `python -m experiments.benchmark`, see `experiments/benchmarks/benchmark.py`."""

import sys

from experiments.benchmarks.benchmark import main

if __name__ == "__main__":
    sys.exit(main())
