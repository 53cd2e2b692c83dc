"""Optimizers from optax parts: LaProp with adaptive clipping by tensor and warm-up (DreamerV3), or Adam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from dreamjax.config import OptimizerConfig
from dreamjax.types import ONE_TENSOR_EACH, Tensors


def clip_by_tensor(
    limit: float, min_norm: float = 1e-3, *, tensors: Tensors = ONE_TENSOR_EACH
) -> optax.GradientTransformation:
    """Adaptive gradient clipping (Brock et al. 2021) with one norm for each whole tensor, as DreamerV3 has it.

    Scales an update so that its norm is at most ``limit * max(min_norm, norm of the parameter)``. optax's own works by
    output unit.

    Args:
        tensors: what counts as one tensor.
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        update_parts, param_parts = parts(updates, tensors), parts(params, tensors)
        update_norms, param_norms = norms(update_parts, tensors), norms(param_parts, tensors)

        def clip(name: Any, update: jax.Array) -> jax.Array:
            allowed = limit * jnp.maximum(min_norm, param_norms[name])
            return update * (1 / jnp.maximum(1.0, update_norms[name] / allowed))

        return whole({name: clip(name, update) for name, update in update_parts.items()}), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


Part = tuple[Any, int]  # the path of an array, and which of its columns


def parts(tree: Any, tensors: Tensors) -> dict[Part, jax.Array]:
    """The arrays of a tree, cut along the last axis where ``tensors.columns`` says so."""
    columns = dict(tensors.columns)
    result: dict[Part, jax.Array] = {}
    for path, array in traverse_util.flatten_dict(tree).items():
        ends = np.cumsum(columns.get(path, ()))[:-1]
        result |= {(path, i): part for i, part in enumerate(jnp.split(array, ends, -1) if len(ends) else [array])}
    return result


def whole(parts: Mapping[Part, jax.Array]) -> Any:
    """The inverse of ``parts``."""
    arrays: dict[Any, list[jax.Array]] = {}
    for (path, _), part in parts.items():
        arrays.setdefault(path, []).append(part)
    joined = {path: found[0] if len(found) == 1 else jnp.concatenate(found, -1) for path, found in arrays.items()}
    return traverse_util.unflatten_dict(joined)


def norms(parts: Mapping[Part, jax.Array], tensors: Tensors) -> dict[Part, jax.Array]:
    """The norm float32 ``[]`` of the tensor that each part belongs to."""
    result = {name: jnp.linalg.norm(part.reshape(-1)) for name, part in parts.items()}
    for paths in tensors.joined:
        norm = jnp.linalg.norm(jnp.stack([result[path, 0] for path in paths]))
        result |= {(path, 0): norm for path in paths}
    return result


def make_optimizer(
    config: OptimizerConfig, learning_rate: float, delay: int = 0, tensors: Tensors = ONE_TENSOR_EACH
) -> optax.GradientTransformation:
    """The optimizer of one group: clipping, LaProp (Ziyin et al. 2020) or Adam, a linear warm-up of the rate.

    For its first ``delay`` updates the parameters stay as they are, while moments accumulate; then the warm-up begins.
    ``tensors``: what counts as one tensor to the clipping.
    """
    chain = []
    if config.agc:
        chain.append(clip_by_tensor(config.agc, tensors=tensors))
    if config.clip:
        chain.append(optax.clip_by_global_norm(config.clip))
    if config.kind == "laprop":
        # LaProp normalizes first and takes the momentum of normalized gradients.
        chain.append(optax.scale_by_rms(config.beta2, eps=config.eps, eps_in_sqrt=False, bias_correction=True))
        chain.append(optax.ema(config.beta1, debias=True))
    else:
        chain.append(optax.scale_by_adam(config.beta1, config.beta2, eps=config.eps))
    rate: optax.ScalarOrSchedule = learning_rate
    if config.warmup or delay:
        begin = delay if config.warmup else delay - 1  # the first step of a rise is still 0
        rate = optax.linear_schedule(0.0, learning_rate, max(1, config.warmup), transition_begin=begin)
    chain.append(optax.scale_by_learning_rate(rate))
    return optax.chain(*chain)
