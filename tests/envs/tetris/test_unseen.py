"""Unseen pieces: which are kept, which are redrawn, and from which distribution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.envs.tetris import engine, rules, unseen
from dreamjax.envs.tetris.rules import TetrisConfig

COUNT, AHEAD = 1500, 7


@functools.partial(jax.jit, static_argnums=(0, 1, 3))
def streams(config, drawn, keys, pieces=None):
    """The next seven pieces before and after, and those that follow once they are drawn: int32 ``[COUNT, 7]`` each."""
    fixed = None if pieces is None else jnp.array(pieces, jnp.int8)
    state = rules.draw(config, engine.reset(config, jax.random.key(3), fixed), jnp.int32(drawn - 1))
    upcoming = lambda state: jnp.stack([rules.peek(state, i) for i in range(AHEAD)])

    def one(key):
        new = unseen.redraw(config, state, key)
        later = rules.draw(config, new, jnp.int32(AHEAD))
        return upcoming(new), upcoming(later), engine.observe(config, new)["piece"]

    return upcoming(state), engine.observe(config, state)["piece"], jax.vmap(one)(keys)


@pytest.mark.parametrize(("drawn", "preview"), [(1, 1), (3, 1), (5, 3), (6, 2), (7, 1)])
def test_a_bag_is_redrawn_where_it_is_not_seen(drawn, preview):
    config = TetrisConfig(preview=preview)
    found = streams(config, drawn, jax.random.split(jax.random.key(0), COUNT))
    before, seen, (after, later, sight) = jax.tree.map(np.asarray, found)
    np.testing.assert_array_equal(after[:, :preview], np.broadcast_to(before[:preview], (COUNT, preview)))
    np.testing.assert_array_equal(sight, np.broadcast_to(seen, sight.shape))
    # What is left of the bag under way is what was left of it, in every order alike; the next bag is whole.
    left = (7 - drawn % 7) % 7 or 7
    whole = np.concatenate([after, later], 1)
    hidden = whole[:, preview:left] if preview < left else whole[:, preview : left + 7]
    options = sorted(before[preview:left]) if preview < left else None
    if options:
        assert np.all(np.sort(hidden, 1) == options)
        for piece in options:
            fraction = (hidden[:, 0] == piece).mean()
            assert abs(fraction - 1 / len(options)) < 4 * np.sqrt(0.25 / COUNT)
    following = whole[:, left : left + 7]
    assert np.all(np.sort(following, 1) == np.arange(7))
    if preview <= left:
        counts = np.bincount(following[:, 0], minlength=7) / COUNT
        assert np.all(np.abs(counts - 1 / 7) < 4 * np.sqrt(1 / 7 * 6 / 7 / COUNT))


@pytest.mark.parametrize("randomizer", ["uniform", "sz"])
def test_independent_pieces_are_redrawn(randomizer):
    config = TetrisConfig(randomizer=randomizer, preview=2)
    found = streams(config, 4, jax.random.split(jax.random.key(0), COUNT))
    before, _, (after, later, _) = jax.tree.map(np.asarray, found)
    np.testing.assert_array_equal(after[:, :2], np.broadcast_to(before[:2], (COUNT, 2)))
    kinds = 7 if randomizer == "uniform" else 2
    for column in (after[:, 2], after[:, 6], later[:, 6]):
        fraction = np.unique(column, return_counts=True)[1] / COUNT
        assert len(fraction) == kinds and np.all(np.abs(fraction - 1 / kinds) < 4 * np.sqrt(0.25 / COUNT))


def test_only_the_shown_part_of_a_fixed_sequence_is_kept():
    config = TetrisConfig(preview=2)
    found = streams(config, 3, jax.random.split(jax.random.key(0), COUNT), (1,))
    before, _, (after, _, _) = jax.tree.map(np.asarray, found)
    assert np.all(before == 1) and np.all(after[:, :2] == 1) and len(np.unique(after[:, 2:])) == 7
