"""Agents that learn no world model, on the same games: `python -m experiments.compare`."""
