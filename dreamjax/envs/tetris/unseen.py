"""Redraws the pieces that the player does not see yet, for planning with the true rules without foresight."""

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.envs.tetris import rules
from dreamjax.envs.tetris.rules import TetrisConfig, TetrisState


def redraw(config: TetrisConfig, state: TetrisState, key: jax.Array) -> TetrisState:
    """Replaces all future pieces that the preview does not show by a random draw.

    The draw respects what a player can deduce: pieces left in the current `bag` are only reordered. A fixed sequence of
    pieces (``fixed``) is kept as far as the preview shows it.

    Args:
      config: static.
      state: one game.
      key: a typed PRNG key, consumed.

    Returns:
      The state with new ``bags``, ``key`` and ``num_fixed``; its observation does not change.
    """
    order_key, next_key = jax.random.split(key)
    words = jax.random.bits(next_key, (2,), jnp.uint32)
    start, slots, place = state.drawn % 7, _slots(state.bags), jnp.arange(14, dtype=jnp.int32)
    known = place < start + config.preview
    if config.randomizer == "bag":
        # In each bag, the known pieces come first, in their order.
        order = 7 * (place // 7) + 6 + 0.9 * jax.random.uniform(order_key, (14,))
        fresh = slots[jnp.argsort(jnp.where(known, place.astype(jnp.float32), order))]
    else:
        fresh = _slots(jnp.stack([rules.draw_bag(config, words, i) for i in range(2)]))
    shown = jnp.stack([rules.peek(state, i) for i in range(config.preview)])
    shown = shown[jnp.clip(place - start, 0, config.preview - 1)]
    pieces = jnp.where(place < start, slots, jnp.where(known, shown, fresh)).astype(jnp.uint32)
    bags = jnp.sum(pieces.reshape(2, 7) << _SHIFTS[None], 1, dtype=jnp.uint32)
    return state.replace(bags=bags, key=words, num_fixed=jnp.zeros_like(state.num_fixed))


_SHIFTS = 3 * np.arange(7, dtype=np.uint32)


def _slots(bags: jax.Array) -> jax.Array:
    """Returns int32[14], the pieces of two bags in order."""
    return ((bags[:, None] >> _SHIFTS[None]) & jnp.uint32(7)).astype(jnp.int32).reshape(-1)
