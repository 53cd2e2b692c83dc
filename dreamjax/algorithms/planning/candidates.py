"""Candidate actions of a finite action space: all of them as vectors, and the best ``K`` by a policy."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.algorithms.actions import Policy
from dreamjax.types import ActionSpec

MAX_JOINT = 4096  # joint actions that are listed
NEVER = -1e9  # score of an illegal action


class TopK(NamedTuple):
    """``K`` joint actions of each of ``N`` states, best first, all ``[N, K]``.

    Attributes:
        indices: int32 rows of the list of joint actions. log_prob: float32, by the policy. legal: bool.
        noise: float32, the Gumbel noise added to the log-probability, 0 without noise.
    """

    indices: jax.Array
    log_prob: jax.Array
    legal: jax.Array
    noise: jax.Array


def joint_actions(spec: ActionSpec) -> np.ndarray:
    """Every action vector of a finite action space, float32 ``[M, A]``.

    Raises:
        ValueError: a part is continuous, or there are more than ``MAX_JOINT`` actions.
    """
    rows = np.zeros((1, 0), np.float32)
    for part in spec.parts:
        if part.kind == "continuous":
            raise ValueError("the actions cannot be listed: a part of the action space is continuous")
        count = part.size if part.kind == "categorical" else 2**part.size
        if count * len(rows) > MAX_JOINT:
            raise ValueError(f"the actions cannot be listed: there are more than {MAX_JOINT}")
        if part.kind == "categorical":
            choices = np.eye(part.size, dtype=np.float32)
        else:
            choices = (np.arange(count)[:, None] >> np.arange(part.size) & 1).astype(np.float32)
        rows = np.concatenate([np.repeat(rows, count, 0), np.tile(choices, (len(rows), 1))], 1)
    return rows


def joint_actions_or_none(spec: ActionSpec) -> np.ndarray | None:
    """As ``joint_actions``, and None where the actions cannot be listed."""
    try:
        return joint_actions(spec)
    except ValueError:
        return None


def joint_records(spec: ActionSpec, joint: np.ndarray) -> np.ndarray:
    """Action vectors ``[M, A]`` of discrete parts as records int32 ``[M, R]``, on the host."""
    pieces = zip(spec.parts, spec.split(joint, "vector"), strict=True)
    columns = [x.argmax(-1, keepdims=True) if part.kind == "categorical" else x for part, x in pieces]
    return np.concatenate(columns, -1).astype(spec.record_dtype)


def joint_log_prob(policy: Policy, joint: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Log-probability float32 ``[N, M]`` of each joint action, and whether it is legal, bool ``[N, M]``."""
    total: jax.Array | None = None
    illegal: jax.Array | None = None
    for part, values, columns in zip(policy.spec.parts, policy.parts, policy.spec.split(joint, "vector"), strict=True):
        chosen = columns.T
        log_p = jnp.log(jnp.maximum(values.probs, 1e-20))
        term = log_p @ chosen
        if part.kind == "binary":
            term += jnp.log(jnp.maximum(1 - values.probs, 1e-20)) @ (1 - chosen)
        else:
            zero = (values.probs <= 0).astype(jnp.float32) @ chosen > 0.5
            illegal = zero if illegal is None else illegal | zero
        total = term if total is None else total + term
    assert total is not None
    return total, jnp.ones(total.shape, bool) if illegal is None else ~illegal


def top_actions(policy: Policy, joint: np.ndarray, count: int, keys: jax.Array | None) -> TopK:
    """``K = min(count, M)`` different actions of each of ``N`` states.

    With keys they are drawn by the policy without replacement (Gumbel top-k, Kool et al. 2019); without, they are the most
    likely ones. Legal actions come first.

    Args:
        policy: of ``N`` states. joint: all actions, float32 ``[M, A]``. keys: typed ``[N]``, consumed, or None.
    """
    log_prob, legal = joint_log_prob(policy, joint)
    noise = jnp.zeros_like(log_prob)
    if keys is not None:
        noise = jax.vmap(lambda key: jax.random.gumbel(key, (joint.shape[0],)))(keys)
    _, index = jax.lax.top_k(jnp.where(legal, log_prob + noise, NEVER), min(count, joint.shape[0]))
    pick = lambda x: jnp.take_along_axis(x, index, 1)  # noqa: E731
    return TopK(index, pick(log_prob), pick(legal), pick(noise))
