"""What is shared over places: edits and scores move with the place, and see what is near."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.models.grid.layers import CellScores, LocalEdit, bounded
from tests.helpers.grids import WIDE, bits, jit
from tests.helpers.parameters import random_params


def test_bounded_logits_pass_gradients_that_lead_back():
    x, slope = np.float32([-7, -7, -2, 0, 2, 7, 7]), np.float32([1, -1, 1, -1, -1, 1, -1])
    value, back = jax.vjp(lambda x: bounded(x, 5.0), x)
    np.testing.assert_array_equal(value, [-5, -5, -2, 0, 2, 5, 5])
    # A step goes against the gradient: up at -7 and down at 7 lead back.
    np.testing.assert_array_equal(back(slope)[0], [0, -1, 1, -1, -1, 1, 0])


def edits(module, cells, row, column):
    cond = np.random.default_rng(2).normal(size=(1, 4)).astype(np.float32)
    args = (jnp.asarray(cells), jnp.zeros_like(cells), np.array([row]), np.array([column]), cond)
    return np.asarray(compiled(module)(random_params(module.init, *args), *args)[0])


@functools.cache
def compiled(module):
    return jit(module.apply)


def test_local_edits_move_with_the_action_and_stay_in_their_window():
    local = LocalEdit(WIDE, 16, "silu", 2, jnp.float32)
    cells = bits(1, 2, 14, 16)
    here = edits(local, cells, 4, 5)
    there = edits(local, np.roll(cells, (5, 6), (2, 3)), 9, 11)
    assert np.all(here[:, :, 2:7, 2:9] != 0)
    assert np.count_nonzero(here) == 2 * 5 * 7
    np.testing.assert_allclose(there, np.roll(here, (5, 6), (2, 3)), atol=1e-5)
    empty = np.zeros_like(cells)
    at_border, inside = edits(local, empty, 1, 8), edits(local, empty, 7, 8)
    assert np.abs(at_border[:, :, :4] - inside[:, :, 6:10]).max() > 1e-3, "the border is seen"


def test_scores_of_cells_move_over_columns_and_are_local():
    layout = WIDE._replace(entries=("piece",), sizes=(3,), vector=3)
    scores = CellScores(layout, 2, 16, "silu", jnp.float32)
    rest = np.random.default_rng(1).normal(size=(1, 3 + 13 + 4)).astype(np.float32)
    feat = lambda cells: jnp.asarray(np.concatenate([cells.reshape(1, -1), rest], -1))
    cells = bits(1, 2, 14, 16)
    params = random_params(scores.init, feat(cells))
    apply = jit(scores.apply)
    score = lambda cells: np.asarray(apply(params, feat(cells)))[0].reshape(14, 16)
    here = score(cells)
    np.testing.assert_allclose(score(np.roll(cells, 4, 3))[:, 7:13], here[:, 3:9], atol=1e-4)
    changed = cells.copy()
    changed[0, :, 0, 8] = 1 - changed[0, :, 0, 8]
    touched = np.abs(score(changed) - here) > 0
    assert not touched[:, :5].any() and not touched[:, 12:].any()
    assert touched[13, 5:12].all(), "cells read all rows of the columns around theirs"
    empty = score(np.zeros_like(cells))
    np.testing.assert_allclose(empty[:, 4:12], empty[:, 3:4] * np.ones(8), atol=1e-5)
    assert np.abs(empty[:, 0] - empty[:, 8]).max() > 1e-3, "the border is seen"
    memory = feat(cells).at[:, layout.cells + 3 :].add(1.0)
    np.testing.assert_array_equal(apply(params, memory)[0].reshape(14, 16), here)
    seen = feat(cells).at[:, layout.cells].add(1.0)
    assert np.abs(apply(params, seen)[0].reshape(14, 16) - here).max() > 1e-3
