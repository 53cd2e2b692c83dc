"""Planning by piecewise-constant sequences: each part of the action takes one value, then another, and keeps it.

Sequences that redraw every part at every step stay near where they began; what lies some steps away is reached by buttons
that stay pressed (for continuous actions, iCEM's colored noise: Pinneri et al. 2020). After any step of a sequence the rest
can be left to the actor, which the critic values, so the value of a sequence is the greatest return over its prefixes. The
previous plan, moved on by one step, is always a candidate (the warm start of model-predictive control), so that it improves
while it is carried out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dreamjax.algorithms.planning.model import PlanningModel
from dreamjax.algorithms.randomness import step_keys
from dreamjax.types import ActionSpec


def press_probabilities(binary_bias: Sequence[float], bits: int, *, horizon: int) -> jax.Array:
    """Probability that the first and the second value of each bit is a press, float32 ``[2, bits]`` in [0, 1/2].

    The first is that of the untrained actor. The second is ``horizon`` times as great, so that rare presses come last, when
    the other bits have done their work. It is 0 for a bit that the actor's bias rules out.

    Args:
        binary_bias: ``actor.binary_bias``; empty for zeros.
    """
    first = jax.nn.sigmoid(jnp.asarray(binary_bias or (0.0,) * bits, jnp.float32))
    return jnp.minimum(0.5, jnp.stack([first, horizon * first]))


def draw_piecewise(
    spec: ActionSpec, keys: jax.Array, probabilities: jax.Array, *, count: int, horizon: int
) -> jax.Array:
    """``count`` sequences of each of ``N`` typed keys, consumed: action vectors float32 ``[N, count, horizon, A]``.

    Every class, bit and number has two values and changes from one to the other at a step of its own in ``1 .. horizon``
    (at ``horizon``: never). Classes are drawn uniformly, numbers uniformly from [-1, 1], bits by ``probabilities``.

    Args:
        probabilities: float32 ``[2, bits]``, see ``press_probabilities``.
    """

    def draw(key: jax.Array) -> jax.Array:
        parts, bits = [], 0
        for i, part in enumerate(spec.parts):
            value_key, change_key = jax.random.split(jax.random.fold_in(key, i))
            shape = (2, count, 1, part.size)
            if part.kind == "categorical":
                value = jax.nn.one_hot(jax.random.randint(value_key, shape[:3], 0, part.size), part.size)
            elif part.kind == "binary":
                press = probabilities[:, None, None, bits : bits + part.size]
                bits += part.size
                value = (jax.random.uniform(value_key, shape) < press).astype(jnp.float32)
            else:
                value = jax.random.uniform(value_key, shape, minval=-1.0)
            changes = 1 if part.kind == "categorical" else part.size
            change = jax.random.randint(change_key, (count, 1, changes), 1, horizon + 1)
            parts.append(jnp.where(jnp.arange(horizon)[None, :, None] < change, value[0], value[1]))
        return jnp.concatenate(parts, -1)

    return jax.vmap(draw)(keys)


def max_prefix_return(model: PlanningModel, state: Any, actions: jax.Array, shared_keys: jax.Array) -> jax.Array:
    """Greatest return of a sequence's prefixes, float32 ``[M]``: ``max_k r0 + g r1 + ... + g^k V(s_k)``, ``k >= 1``.

    Args:
        state: ``[M, ...]``. actions: ``[M, H, A]``. shared_keys: typed ``[M]``, folded by step.
    """

    def step(carry: tuple[Any, jax.Array, jax.Array], inputs: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        state, total, weight = carry
        t, action = inputs
        state, reward, discount = model.step(state, action, step_keys(shared_keys, t))
        _, value = model.policy_and_value(state)
        total, weight = total + weight * reward, weight * discount
        return (state, total, weight), total + weight * value

    ones = jnp.ones(actions.shape[0])
    inputs = jnp.arange(actions.shape[1]), jnp.swapaxes(actions, 0, 1)
    _, returns = jax.lax.scan(step, (state, 0 * ones, ones), inputs)
    return jnp.max(returns, 0)


def plan_piecewise(
    model: PlanningModel,
    spec: ActionSpec,
    state: Any,
    mode: jax.Array,
    plan: jax.Array,
    keys: jax.Array,
    *,
    count: int,
    binary_bias: Sequence[float],
) -> jax.Array:
    """The best of ``count`` sequences, float32 ``[N, H, A]``. Nothing is differentiated.

    The candidates are the previous plan, moved on by one step, and ``count - 1`` new draws, the first of which begins with
    ``mode``. All candidates of a row share the keys of their steps (common random numbers). Of equals the previous plan is
    kept. Row ``i`` depends on its own state, plan and key alone.

    Args:
        state: ``[N, ...]``. mode: float32 ``[N, A]``, the actor's. keys: typed ``[N]``, consumed.
        plan: float32 ``[N, H, A]``, the plan of the step before; zeros at an episode's first step.
        binary_bias: ``actor.binary_bias``, see ``press_probabilities``.
    """
    rows, horizon = plan.shape[:2]
    shared_keys, draw_keys = (jax.vmap(jax.random.fold_in, (0, None))(keys, i) for i in range(2))
    bits = sum(part.size for part in spec.parts if part.kind == "binary")
    probabilities = press_probabilities(binary_bias, bits, horizon=horizon)
    fresh = draw_piecewise(spec, draw_keys, probabilities, count=count - 1, horizon=horizon).at[:, 0, 0].set(mode)
    previous = jnp.concatenate([plan[:, 1:], plan[:, -1:]], 1)
    candidates = jnp.concatenate([previous[:, None], fresh], 1)
    repeat = lambda x: jnp.repeat(x, count, 0, total_repeat_length=rows * count)  # noqa: E731
    state, shared_keys = jax.tree.map(repeat, (state, shared_keys))
    returns = max_prefix_return(model, state, candidates.reshape(rows * count, horizon, -1), shared_keys)
    best = jnp.argmax(returns.reshape(rows, count), 1)
    return jax.lax.stop_gradient(jnp.take_along_axis(candidates, best[:, None, None, None], 1)[:, 0])
