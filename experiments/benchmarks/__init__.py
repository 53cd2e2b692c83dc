"""The speed of updates, environments, replay and the training loop: `python -m experiments.benchmark`."""
