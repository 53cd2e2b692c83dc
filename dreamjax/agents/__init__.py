"""Agents: ways of acting from a ``TrainState``."""
