"""Distributions of rewards, values and observations. Those of actions: ``algorithms.actions``."""

from __future__ import annotations

from collections.abc import Mapping

import chex
import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.models.nets import symexp, symlog
from dreamjax.types import ObsSpec

SYMLOG_LIMIT = 20.0  # symlog units: DreamerV3's bins lie between -(e^20 - 1) and e^20 - 1


# Scalars: rewards and values.


def two_hot_bins(num: int, symlog_limit: float = SYMLOG_LIMIT) -> np.ndarray:
    """Bin centers ``symexp(linspace(-limit, limit, num))``, float32 ``[num]``, exactly symmetric; ``num`` is odd."""
    half = np.expm1(np.linspace(0, symlog_limit, num // 2 + 1)).astype(np.float32)
    return np.concatenate([-half[:0:-1], half])


def two_hot_decode(logits: jax.Array, symlog_limit: float = SYMLOG_LIMIT) -> jax.Array:
    """Expected value of ``softmax(logits)`` over the bins: float32 ``[...]`` from ``[..., num]``.

    Bins are summed in pairs of opposite sign, so that uniform logits give exactly 0, also under jit.
    """
    num = logits.shape[-1]
    bins = two_hot_bins(num, symlog_limit)[num // 2 + 1 :]
    probs = jax.nn.softmax(logits.astype(jnp.float32))
    above, below = probs[..., num // 2 + 1 :], probs[..., : num // 2][..., ::-1]
    return jnp.sum((above - below) * jnp.broadcast_to(bins, above.shape), -1)


def two_hot_position(target: jax.Array, num: int, symlog_limit: float = SYMLOG_LIMIT) -> tuple[jax.Array, jax.Array]:
    """Lower bin int32 ``[...]`` in 0..num-2 and the weight float32 in [0, 1] of the bin above it, clipped at the ends.

    The weights are those whose expectation is the target: linear between the bins' values, not their symlogs.
    """
    bins = jnp.asarray(two_hot_bins(num, symlog_limit))
    step = 2 * symlog_limit / (num - 1)
    target = jnp.clip(target.astype(jnp.float32), bins[0], bins[-1])
    lower = jnp.clip(jnp.floor((symlog(target) + symlog_limit) / step).astype(jnp.int32), 0, num - 2)
    # Rounding in symlog may be off by one bin near a center.
    lower = jnp.clip(lower - (target < bins[lower]) + (target >= bins[lower + 1]), 0, num - 2)
    weight = (target - bins[lower]) / (bins[lower + 1] - bins[lower])
    return lower, weight


def two_hot_encode(target: jax.Array, num: int, symlog_limit: float = SYMLOG_LIMIT) -> jax.Array:
    """Two-hot distribution float32 ``[..., num]`` whose expectation is ``target`` (the readable reference)."""
    lower, weight = two_hot_position(target, num, symlog_limit)
    low, high = jax.nn.one_hot(lower, num), jax.nn.one_hot(lower + 1, num)
    return low * (1 - weight)[..., None] + high * weight[..., None]


def two_hot_loss(logits: jax.Array, target: jax.Array, symlog_limit: float = SYMLOG_LIMIT) -> jax.Array:
    """Cross-entropy of ``softmax(logits)`` ``[..., num]`` to the two-hot target ``[...]``: float32 ``[...]``, nats.

    The target is stop-gradient. Only the two logits that carry weight are gathered; the target is never built.
    """
    chex.assert_equal_shape_prefix([logits, target], target.ndim)
    logits = logits.astype(jnp.float32)
    lower, weight = two_hot_position(jax.lax.stop_gradient(target), logits.shape[-1], symlog_limit)
    pair = jnp.take_along_axis(logits, jnp.stack([lower, lower + 1], -1), -1)
    return jax.nn.logsumexp(logits, -1) - (1 - weight) * pair[..., 0] - weight * pair[..., 1]


def scalar_decode(outputs: jax.Array, symlog_limit: float = SYMLOG_LIMIT) -> jax.Array:
    """The prediction of a reward or value head: two-hot where it has several outputs, else ``symexp`` of its one."""
    return two_hot_decode(outputs, symlog_limit) if outputs.shape[-1] > 1 else symexp(outputs[..., 0])


def scalar_loss(outputs: jax.Array, target: jax.Array, symlog_limit: float = SYMLOG_LIMIT) -> jax.Array:
    """Loss of a reward or value head: two-hot cross-entropy, or squared error in symlog space. Target stop-gradient."""
    if outputs.shape[-1] > 1:
        return two_hot_loss(outputs, target, symlog_limit)
    return 0.5 * jnp.square(outputs[..., 0] - symlog(jax.lax.stop_gradient(target)))


def binary_loss(logit: jax.Array, target: jax.Array) -> jax.Array:
    """Cross-entropy of ``sigmoid(logit)`` to a target in [0, 1], elementwise, nats."""
    return jax.nn.softplus(logit) - target * logit


def continue_probability(logit: jax.Array, *, gamma: float, cont_discount: bool) -> jax.Array:
    """Probability that the episode goes on, float32 ``[...]``, from the continue head's logit.

    With ``cont_discount`` the head's target was multiplied by the discount ``gamma``, which is divided out again here: the
    discount is applied once, in the returns. A head that predicts more than ``gamma`` gives more than 1, up to
    ``1 / gamma``: cutting that off would shorten the horizon wherever the prediction scatters.
    """
    cont = jax.nn.sigmoid(logit)
    return cont / gamma if cont_discount else cont


# Observations.


def observation_loss(entry: ObsSpec, prediction: jax.Array, target: jax.Array, use_symlog: bool) -> jax.Array:
    """Negative log-likelihood (up to a constant) of a preprocessed observation, *summed* over its event: ``[...]``.

    Bits by Bernoulli, grids of several classes and discretes by categorical, images by squared error, vectors by squared
    error (in symlog space where ``use_symlog``). The target is stop-gradient.
    """
    chex.assert_equal_shape([prediction, target])
    target = jax.lax.stop_gradient(target)
    if entry.kind == "grid" and entry.classes > 2:
        channels, height, width = entry.shape
        lead = prediction.shape[:-3]
        logits = prediction.reshape(*lead, channels, entry.classes, height, width)
        hot = target.reshape(*lead, channels, entry.classes, height, width)
        return -jnp.sum(hot * jax.nn.log_softmax(logits, -3), (-4, -3, -2, -1))
    if entry.kind == "discrete":
        shape = (*prediction.shape[:-1], entry.size, entry.classes)
        return -jnp.sum(target.reshape(shape) * jax.nn.log_softmax(prediction.reshape(shape)), (-2, -1))
    if entry.kind in ("grid", "mask"):
        loss = binary_loss(prediction, target)
    elif entry.kind == "vector" and use_symlog:
        loss = jnp.square(prediction - symlog(target))
    else:
        loss = jnp.square(prediction - target)
    event = 3 if entry.kind in ("grid", "image") else len(entry.shape)
    return jnp.sum(loss, tuple(range(-event, 0))) if event else loss


def observation_mode(entry: ObsSpec, prediction: jax.Array, use_symlog: bool) -> jax.Array:
    """The most likely observation, in the record's own units and dtype: ``[..., *entry.shape]``."""
    if entry.kind == "grid" and entry.classes > 2:
        channels, height, width = entry.shape
        logits = prediction.reshape(*prediction.shape[:-3], channels, entry.classes, height, width)
        mode = jnp.argmax(logits, -3)
    elif entry.kind == "discrete":
        mode = jnp.argmax(prediction.reshape(*prediction.shape[:-1], entry.size, entry.classes), -1)
    elif entry.kind in ("grid", "mask"):
        mode = prediction > 0
    elif entry.kind == "image":
        mode = jnp.clip(jnp.round(prediction * 255), 0, 255) if entry.dtype == "uint8" else prediction
    else:
        mode = symexp(prediction) if use_symlog else prediction
    return mode.astype(entry.dtype)


def weighted_sum(losses: Mapping[str, jax.Array], scales: Mapping[str, float]) -> jax.Array:
    """Weighted sum of losses of one shape; the names must be exactly those of the scales."""
    assert set(losses) == set(scales), (sorted(losses), sorted(scales))
    return sum((scales[name] * losses[name] for name in sorted(losses)), start=jnp.zeros(()))
