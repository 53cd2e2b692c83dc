"""Whole episodes played to measure a policy or a world model."""
