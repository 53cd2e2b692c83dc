"""Policies over action spaces, and the two forms of an action: records, as replay keeps them, and vectors.

What divides an array into the parts of an action space is ``ActionSpec.split``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dreamjax.config import ActorConfig
from dreamjax.models.latents import one_hot_sample, row_normal, row_uniform
from dreamjax.types import ActionPart, ActionSpec, Array


class PolicyPart(NamedTuple):
    """Parameters of one factor: ``probs [..., size]`` (categorical, binary) or ``mean, std [..., size]``."""

    probs: Array = None
    mean: Array = None
    std: Array = None


class Policy(NamedTuple):
    """A product of independent factors over an action space; all methods work on action *vectors* ``[..., A]``."""

    spec: ActionSpec
    parts: tuple[PolicyPart, ...]

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
        for part, values, x in zip(self.spec.parts, self.parts, self.spec.split(action, "vector"), strict=True):
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
        outputs: float ``[..., P]``, ``P`` is ``spec.output_size``.
        mask: bool ``[..., C]`` legal classes, or None. Only masked parts use it.
        config: the actor's constants.
    """
    outputs = outputs.astype(jnp.float32)
    parts = [
        _policy_part(part, raw, mask if part.masked else None, config)
        for part, raw in zip(spec.parts, spec.split(outputs, "outputs"), strict=True)
    ]
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
    pieces = []
    for part, x in zip(spec.parts, spec.split(record, "record"), strict=True):
        categorical = part.kind == "categorical"
        pieces.append(jax.nn.one_hot(x[..., 0].astype(jnp.int32), part.size) if categorical else x.astype(jnp.float32))
    return jnp.concatenate(pieces, -1)


def action_record(spec: ActionSpec, vector: jax.Array) -> jax.Array:
    """Action vectors ``[..., A]`` to records ``[..., K]`` of ``spec.record_dtype``; inverse of ``action_vector``."""
    pieces = []
    for part, x in zip(spec.parts, spec.split(vector, "vector"), strict=True):
        pieces.append(jnp.argmax(x, -1, keepdims=True) if part.kind == "categorical" else x)
    return jnp.concatenate([piece.astype(spec.record_dtype) for piece in pieces], -1)
