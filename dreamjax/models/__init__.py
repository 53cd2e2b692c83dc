"""Flax Linen modules: parameters and one step each. Scans over time are free functions in ``dreamjax.algorithms``."""
