"""Planning by held actions: sequences whose parts each take one value and then another, worth their best beginning.

Shots that redraw every part of an action at every step wander about where they began; presses that last reach what lies
some steps away (for numbers, iCEM's coloured noise: Pinneri et al. 2020). And a sequence need not be followed to its end:
after any of its steps the rest can be left to the actor, whom the critic values, so it is worth the most that any of its
beginnings is. The plan that was taken before, one step on, is always among those tried (model-predictive control's warm
start), so that it grows better while it is carried out.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from dreamjax.algorithms.planning import Simulator
from dreamjax.algorithms.randomness import step_keys
from dreamjax.config import Config
from dreamjax.types import ActionSpec


def press_odds(config: Config, bits: int) -> jax.Array:
    """How often the first and the second value of each bit are presses, float32 ``[2, bits]`` in [0, 1/2].

    The first as the actor, as it begins (``actor.binary_bias``), would press it; the second as it would within the
    horizon: what is rarely pressed comes last, once the others have done their work. None for a bit that it is kept from.
    """
    begins = jax.nn.sigmoid(jnp.asarray(config.actor.binary_bias or (0.0,) * bits, jnp.float32))
    return jnp.minimum(0.5, jnp.stack([begins, config.planner.horizon * begins]))


def draw_held(spec: ActionSpec, keys: jax.Array, count: int, horizon: int, odds: jax.Array) -> jax.Array:
    """``count`` sequences for each of ``N`` typed keys, consumed: action vectors float32 ``[N, count, horizon, A]``.

    Every class, bit and number has two values, drawn evenly (bits by ``odds`` of :func:`press_odds`, numbers from [-1, 1]),
    and goes from one to the other at a step of its own between 1 and ``horizon``, where it never does.
    """

    def draw(key: jax.Array) -> jax.Array:
        parts, bits = [], 0
        for i, part in enumerate(spec.parts):
            value_key, cut_key = jax.random.split(jax.random.fold_in(key, i))
            shape = (2, count, 1, part.size)
            if part.kind == "categorical":
                value = jax.nn.one_hot(jax.random.randint(value_key, shape[:3], 0, part.size), part.size)
            elif part.kind == "binary":
                mine = odds[:, None, None, bits : bits + part.size]
                bits += part.size
                value = (jax.random.uniform(value_key, shape) < mine).astype(jnp.float32)
            else:
                value = jax.random.uniform(value_key, shape, minval=-1.0)
            apart = 1 if part.kind == "categorical" else part.size
            cut = jax.random.randint(cut_key, (count, 1, apart), 1, horizon + 1)
            parts.append(jnp.where(jnp.arange(horizon)[None, :, None] < cut, value[0], value[1]))
        return jnp.concatenate(parts, -1)

    return jax.vmap(draw)(keys)


def best_beginning(simulator: Simulator, state: Any, actions: jax.Array, luck: jax.Array) -> jax.Array:
    """What sequences are worth, float32 ``[M]``: the most of ``r0 + g r1 + ... + g^k value`` over ``k`` from 1 on.

    Args:
        state: ``[M, ...]``. actions: ``[M, H, A]``. luck: typed ``[M]``, folded by step.
    """

    def step(carry: tuple[Any, jax.Array, jax.Array], inputs: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        state, total, weight = carry
        t, action = inputs
        state, reward, discount = simulator.step(state, action, step_keys(luck, t))
        _, value = simulator.outlook(state)
        total, weight = total + weight * reward, weight * discount
        return (state, total, weight), total + weight * value

    ones = jnp.ones(actions.shape[0])
    inputs = jnp.arange(actions.shape[1]), jnp.swapaxes(actions, 0, 1)
    _, worth = jax.lax.scan(step, (state, 0 * ones, ones), inputs)
    return jnp.max(worth, 0)


def plan_held(
    simulator: Simulator, spec: ActionSpec, state: Any, mode: jax.Array, plan: jax.Array, keys: jax.Array, config: Config
) -> jax.Array:  # fmt: skip
    """The best of ``config.planner.candidates`` sequences, float32 ``[N, H, A]``. Nothing is differentiated.

    One is the old plan, one step on; the others are drawn anew, one of them beginning with ``mode``. All of a row share
    the luck of their steps. Of equals the old plan is kept. Row ``i`` depends on its own state, plan and key alone.

    Args:
        state: ``[N, ...]``. mode: float32 ``[N, A]``, what the actor would do. plan: float32 ``[N, H, A]``, the one
            that the last step was taken from (zeros where there was none). keys: typed ``[N]``, consumed.
    """
    rows, horizon = plan.shape[:2]
    count = config.planner.candidates
    luck, draws = (jax.vmap(jax.random.fold_in, (0, None))(keys, i) for i in range(2))
    bits = sum(part.size for part in spec.parts if part.kind == "binary")
    fresh = draw_held(spec, draws, count - 1, horizon, press_odds(config, bits)).at[:, 0, 0].set(mode)
    kept = jnp.concatenate([plan[:, 1:], plan[:, -1:]], 1)
    tried = jnp.concatenate([kept[:, None], fresh], 1)
    repeat = lambda x: jnp.repeat(x, count, 0, total_repeat_length=rows * count)  # noqa: E731
    state, luck = jax.tree.map(repeat, (state, luck))
    worth = best_beginning(simulator, state, tried.reshape(rows * count, horizon, -1), luck).reshape(rows, count)
    best = jnp.take_along_axis(tried, jnp.argmax(worth, 1)[:, None, None, None], 1)[:, 0]
    return jax.lax.stop_gradient(best)
