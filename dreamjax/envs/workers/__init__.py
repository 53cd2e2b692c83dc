"""Environments in worker processes: the vector environment (``vector_env``) and the code of a worker (``process``).

Nothing here imports jax, and this module imports nothing, so that a worker starts as fast as its environment's imports.
"""
