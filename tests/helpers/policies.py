"""Policies of random outputs, and keys for their rows, for tests of planners."""

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.algorithms.actions import make_policy


def policy_of(spec, rows, config, mask=None, seed=0):
    outputs = sum(part.size for part in spec.parts)
    raw = np.random.default_rng(seed).normal(size=(rows, outputs)).astype(np.float32)
    return make_policy(spec, jnp.asarray(raw), mask, config.actor)


def keys_of(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)
