"""Distributions of rewards, values, observations and actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.config import ActorConfig
from dreamjax.models.latents import one_hot_sample, row_normal, row_uniform
from dreamjax.models.nets import symexp, symlog
from dreamjax.types import ActionPart, ActionSpec, Array, ObsSpec

REACH = 20.0  # symlog units: DreamerV3's bins reach +-(e^20 - 1)


# Scalars: rewards and values.


def two_hot_bins(num: int, reach: float = REACH) -> np.ndarray:
    """Bin centres ``symexp(linspace(-reach, reach, num))``, float32 ``[num]``, exactly symmetric; ``num`` is odd."""
    half = np.expm1(np.linspace(0, reach, num // 2 + 1)).astype(np.float32)
    return np.concatenate([-half[:0:-1], half])


def two_hot_decode(logits: jax.Array, reach: float = REACH) -> jax.Array:
    """Expected value of ``softmax(logits)`` over the bins: float32 ``[...]`` from ``[..., num]``.

    Bins are summed in pairs of opposite sign, so that uniform logits give exactly 0, also under jit.
    """
    num = logits.shape[-1]
    bins = two_hot_bins(num, reach)[num // 2 + 1 :]
    probs = jax.nn.softmax(logits.astype(jnp.float32))
    above, below = probs[..., num // 2 + 1 :], probs[..., : num // 2][..., ::-1]
    return jnp.sum((above - below) * jnp.broadcast_to(bins, above.shape), -1)


def two_hot_position(target: jax.Array, num: int, reach: float = REACH) -> tuple[jax.Array, jax.Array]:
    """Lower bin int32 ``[...]`` in 0..num-2 and the weight float32 in [0, 1] of the bin above it, clipped at the ends.

    The weights are those whose expectation is the target: linear between the bins' values, not their symlogs.
    """
    bins = jnp.asarray(two_hot_bins(num, reach))
    step = 2 * reach / (num - 1)
    target = jnp.clip(target.astype(jnp.float32), bins[0], bins[-1])
    lower = jnp.clip(jnp.floor((symlog(target) + reach) / step).astype(jnp.int32), 0, num - 2)
    # Rounding in symlog may be off by one bin near a centre.
    lower = jnp.clip(lower - (target < bins[lower]) + (target >= bins[lower + 1]), 0, num - 2)
    weight = (target - bins[lower]) / (bins[lower + 1] - bins[lower])
    return lower, weight


def two_hot_encode(target: jax.Array, num: int, reach: float = REACH) -> jax.Array:
    """Two-hot distribution float32 ``[..., num]`` whose expectation is ``target`` (the readable reference)."""
    lower, weight = two_hot_position(target, num, reach)
    low, high = jax.nn.one_hot(lower, num), jax.nn.one_hot(lower + 1, num)
    return low * (1 - weight)[..., None] + high * weight[..., None]


def two_hot_loss(logits: jax.Array, target: jax.Array, reach: float = REACH) -> jax.Array:
    """Cross-entropy of ``softmax(logits)`` ``[..., num]`` to the two-hot target ``[...]``: float32 ``[...]``, nats.

    The target is stop-gradient. Only the two logits that carry weight are gathered; the target is never built.
    """
    chex.assert_equal_shape_prefix([logits, target], target.ndim)
    logits = logits.astype(jnp.float32)
    lower, weight = two_hot_position(jax.lax.stop_gradient(target), logits.shape[-1], reach)
    pair = jnp.take_along_axis(logits, jnp.stack([lower, lower + 1], -1), -1)
    return jax.nn.logsumexp(logits, -1) - (1 - weight) * pair[..., 0] - weight * pair[..., 1]


def scalar_decode(outputs: jax.Array, reach: float = REACH) -> jax.Array:
    """The prediction of a reward or value head: two-hot where it has several outputs, else ``symexp`` of its one."""
    return two_hot_decode(outputs, reach) if outputs.shape[-1] > 1 else symexp(outputs[..., 0])


def scalar_loss(outputs: jax.Array, target: jax.Array, reach: float = REACH) -> jax.Array:
    """Loss of a reward or value head: two-hot cross-entropy, or squared error in symlog space. Target stop-gradient."""
    if outputs.shape[-1] > 1:
        return two_hot_loss(outputs, target, reach)
    return 0.5 * jnp.square(outputs[..., 0] - symlog(jax.lax.stop_gradient(target)))


def binary_loss(logit: jax.Array, target: jax.Array) -> jax.Array:
    """Cross-entropy of ``sigmoid(logit)`` to a target in [0, 1], elementwise, nats."""
    return jax.nn.softplus(logit) - target * logit


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


# Actions.


class PolicyPart(NamedTuple):
    """Parameters of one factor: ``probs [..., size]`` (categorical, binary) or ``mean, std [..., size]``."""

    probs: Array = None
    mean: Array = None
    std: Array = None


class Policy(NamedTuple):
    """A product of independent factors over an action space; all methods work on action *vectors* ``[..., A]``."""

    spec: ActionSpec
    parts: tuple[PolicyPart, ...]

    def _split(self, action: jax.Array) -> list[jax.Array]:
        ends = np.cumsum([part.size for part in self.spec.parts])[:-1]
        return jnp.split(action, ends, -1)

    def sample(self, keys: jax.Array) -> jax.Array:
        """Actions float32 ``[N, A]``, one typed key a row, consumed. No gradient. Continuous samples are not clipped."""
        part_keys = jax.vmap(lambda key: jax.random.split(key, len(self.parts)))(keys)
        samples = []
        for i, (part, values) in enumerate(zip(self.spec.parts, self.parts, strict=True)):
            key = part_keys[:, i]
            if part.kind == "continuous":
                samples.append(values.mean + values.std * row_normal(key, (part.size,)))
            elif part.kind == "binary":
                samples.append((row_uniform(key, (part.size,)) < values.probs).astype(jnp.float32))
            else:
                samples.append(one_hot_sample(values.probs, row_uniform(key, ())))
        return jax.lax.stop_gradient(jnp.concatenate(samples, -1))

    def mode(self) -> jax.Array:
        """The most likely action, float32 ``[..., A]``; for bits, each pressed where more likely than not."""
        modes = []
        for part, values in zip(self.spec.parts, self.parts, strict=True):
            if part.kind == "continuous":
                modes.append(values.mean)
            elif part.kind == "binary":
                modes.append((values.probs > 0.5).astype(jnp.float32))
            else:
                modes.append(jax.nn.one_hot(jnp.argmax(values.probs, -1), part.size))
        return jnp.concatenate(modes, -1)

    def log_prob(self, action: jax.Array) -> jax.Array:
        """Log-probability (density) of an action vector, summed over factors, bits and dimensions: float32 ``[...]``.

        Continuous actions are not differentiated through; an illegal class has log-probability 0 weight and no gradient.
        """
        total = jnp.zeros(action.shape[:-1])
        for part, values, x in zip(self.spec.parts, self.parts, self._split(action), strict=True):
            if part.kind == "continuous":
                total += jnp.sum(_normal(values).log_prob(jax.lax.stop_gradient(x)), -1)
            elif part.kind == "binary":
                log_p, log_not = _safe_log(values.probs), _safe_log(1 - values.probs)
                total += jnp.sum(x * log_p + (1 - x) * log_not, -1)
            else:
                total += jnp.sum(x * _safe_log(values.probs), -1)
        return total

    def entropy(self) -> jax.Array:
        """Entropy in nats, summed over factors, bits and dimensions; over legal classes only: float32 ``[...]``."""
        total: Array = 0.0
        for part, values in zip(self.spec.parts, self.parts, strict=True):
            if part.kind == "continuous":
                total += jnp.sum(_normal(values).entropy(), -1)
            elif part.kind == "binary":
                p = values.probs
                total -= jnp.sum(p * _safe_log(p) + (1 - p) * _safe_log(1 - p), -1)
            else:
                total -= jnp.sum(values.probs * _safe_log(values.probs), -1)
        return jnp.asarray(total)


def _normal(values: PolicyPart) -> Any:
    import distrax  # half a second to import, and only continuous actions need it

    return distrax.Normal(values.mean, values.std)


def _safe_log(probs: jax.Array) -> jax.Array:
    """``log p`` with 0 (and gradient 0) where ``p`` is 0, so that ``p log p`` and its gradient stay finite."""
    positive = probs > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, probs, 1.0)), 0.0)


def make_policy(spec: ActionSpec, outputs: jax.Array, mask: jax.Array | None, config: ActorConfig) -> Policy:
    """The policy from an actor's raw outputs ``[..., P]``.

    Categorical: softmax over legal classes mixed with ``unimix`` uniform over legal classes; an empty mask counts as no
    mask. Binary: sigmoid mixed with ``unimix`` / 2. Continuous: normal with mean ``tanh`` and deviation between
    ``min_std`` and ``max_std`` (DreamerV3's bounded normal).

    Args:
        spec: the action space.
        outputs: float ``[..., P]``, see ``models.heads.policy_outputs``.
        mask: bool ``[..., C]`` legal classes, or None. Only masked parts use it.
        config: the actor's constants.
    """
    outputs = outputs.astype(jnp.float32)
    parts, start = [], 0
    for part in spec.parts:
        width = part.size * (2 if part.kind == "continuous" else 1)
        raw = outputs[..., start : start + width]
        start += width
        parts.append(_policy_part(part, raw, mask if part.masked else None, config))
    assert start == outputs.shape[-1], (start, outputs.shape)
    return Policy(spec, tuple(parts))


def _policy_part(part: ActionPart, raw: jax.Array, mask: jax.Array | None, config: ActorConfig) -> PolicyPart:
    if part.kind == "continuous":
        mean, std = jnp.split(raw, 2, -1)
        low, high = config.min_std, config.max_std
        return PolicyPart(mean=jnp.tanh(mean), std=(high - low) * jax.nn.sigmoid(std + 2.0) + low)
    if part.kind == "binary":
        return PolicyPart(probs=(1 - config.unimix) * jax.nn.sigmoid(raw) + config.unimix / 2)
    if mask is None:
        probs = jax.nn.softmax(raw)
        return PolicyPart(probs=(1 - config.unimix) * probs + config.unimix / part.size)
    legal = mask.astype(bool)
    legal = legal | ~jnp.any(legal, -1, keepdims=True)
    # A large finite number, not -inf: the gradient of an illegal logit is then exactly 0, never NaN.
    probs = jax.nn.softmax(jnp.where(legal, raw, -1e30))
    share = legal / jnp.sum(legal, -1, keepdims=True)
    return PolicyPart(probs=jnp.where(legal, (1 - config.unimix) * probs + config.unimix * share, 0.0))


def action_vector(spec: ActionSpec, record: jax.Array) -> jax.Array:
    """Action records ``[..., K]`` to vectors float32 ``[..., A]``: categoricals one-hot, the rest as they are."""
    pieces, start = [], 0
    for part in spec.parts:
        x = record[..., start : start + part.columns]
        start += part.columns
        if part.kind == "categorical":
            pieces.append(jax.nn.one_hot(x[..., 0].astype(jnp.int32), part.size))
        else:
            pieces.append(x.astype(jnp.float32))
    return jnp.concatenate(pieces, -1)


def action_record(spec: ActionSpec, vector: jax.Array) -> jax.Array:
    """Action vectors ``[..., A]`` to records ``[..., K]`` of ``spec.record_dtype``; inverse of ``action_vector``."""
    pieces, start = [], 0
    for part in spec.parts:
        x = vector[..., start : start + part.size]
        start += part.size
        pieces.append(jnp.argmax(x, -1, keepdims=True) if part.kind == "categorical" else x)
    return jnp.concatenate([piece.astype(spec.record_dtype) for piece in pieces], -1)


def weighted_sum(losses: Mapping[str, jax.Array], scales: Mapping[str, float]) -> jax.Array:
    """Weighted sum of losses of one shape; the names must be exactly those of the scales."""
    assert set(losses) == set(scales), (sorted(losses), sorted(scales))
    return sum((scales[name] * losses[name] for name in sorted(losses)), start=jnp.zeros(()))
