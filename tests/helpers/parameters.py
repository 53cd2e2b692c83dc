"""Random parameters, drawn without compiling an initializer."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np


def random_params(init: Any, *args: Any, seed: int = 0, scale: float = 1.0) -> Any:
    """Parameters shaped like ``init(key, *args)``, normal with deviation ``scale / sqrt(fan-in)``, none zero."""
    shapes = jax.eval_shape(init, jax.random.key(0), *args)
    return noise_like(shapes, seed=seed, scale=scale)


def noise_like(tree: Any, *, seed: int = 0, scale: float = 1.0) -> Any:
    rng = np.random.default_rng(seed)

    def draw(leaf: Any) -> np.ndarray:
        fan_in = leaf.shape[-2] if len(leaf.shape) > 1 else 1
        return (rng.normal(size=leaf.shape) * scale / np.sqrt(fan_in)).astype(leaf.dtype)

    return jax.tree.map(draw, tree)
