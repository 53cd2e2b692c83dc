"""The pieces that a player does not see yet, drawn afresh: for planning with the true rules but without foresight."""

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.envs.tetris import rules
from dreamjax.envs.tetris.rules import TetrisConfig, TetrisState


def redraw(config: TetrisConfig, state: TetrisState, key: jax.Array) -> TetrisState:
    """The game with other pieces to come, from the first that the preview does not show.

    What a player can deduce stays: the pieces of a `bag` under way that are not shown yet come in another order. A
    prescribed stream (``fixed``) is followed as far as it is shown.

    Args:
      config: static.
      state: one game.
      key: a typed PRNG key, consumed.

    Returns:
      The state with other ``bags`` and another ``key``; all else, and what is observed now, stays.
    """
    order_key, next_key = jax.random.split(key)
    words = jax.random.bits(next_key, (2,), jnp.uint32)
    start, slots, place = state.drawn % 7, _slots(state.bags), jnp.arange(14, dtype=jnp.int32)
    settled = place < start + config.preview
    if config.randomizer == "bag":
        # Within each bag, what is settled comes first and keeps its place.
        order = 7 * (place // 7) + 6 + 0.9 * jax.random.uniform(order_key, (14,))
        fresh = slots[jnp.argsort(jnp.where(settled, place.astype(jnp.float32), order))]
    else:
        fresh = _slots(jnp.stack([rules.deal(config, words, i) for i in range(2)]))
    shown = jnp.stack([rules.coming(state, i) for i in range(config.preview)])
    shown = shown[jnp.clip(place - start, 0, config.preview - 1)]
    pieces = jnp.where(place < start, slots, jnp.where(settled, shown, fresh)).astype(jnp.uint32)
    bags = jnp.sum(pieces.reshape(2, 7) << _SHIFTS[None], 1, dtype=jnp.uint32)
    return state.replace(bags=bags, key=words, num_fixed=jnp.zeros_like(state.num_fixed))


_SHIFTS = 3 * np.arange(7, dtype=np.uint32)


def _slots(bags: jax.Array) -> jax.Array:
    """int32[14]: the pieces of two bags, in order."""
    return ((bags[:, None] >> _SHIFTS[None]) & jnp.uint32(7)).astype(jnp.int32).reshape(-1)
