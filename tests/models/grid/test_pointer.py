"""Rows that come from rows above, against rows moved by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dreamjax.models.grid import pointer as pointer_lib
from dreamjax.models.grid.pointer import MAX_SHIFT, RowPointer
from tests.helpers.grids import as_kept, bits, jit, sharpened
from tests.helpers.parameters import random_params


@pytest.fixture
def unbounded(monkeypatch):
    monkeypatch.setattr(pointer_lib, "SCORE", 1e9)


def test_a_pointer_that_is_sure_of_no_shift_still_learns_one():
    """After 1,000 boards of which no row moved, the gradient for one whose rows did is not lost."""
    x, pointer = bits(4, 1, 8, 4), RowPointer()
    params = random_params(pointer.init, x)
    moved = np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]

    def loss(params, target):
        probs = jnp.clip(pointer.apply(params, x), 1e-5, 1 - 1e-5)
        return -jnp.mean(jnp.log(jnp.where(target > 0, probs, 1 - probs)))

    optimizer = optax.adam(2e-2)

    @jit
    def learn(params, target, count):
        def step(carry, _):
            params, state = carry
            grad = jax.grad(loss)(params, target)
            updates, state = optimizer.update(grad, state)
            return (optax.apply_updates(params, updates), state), optax.tree.norm(grad)

        return jax.lax.scan(step, (params, optimizer.init(params)), length=1000)

    (sure, _), norms = learn(params, x, 1000)
    assert norms[-1] < 1e-3 and loss(sure, x) < 0.01
    (_, _), norms = learn(sure, moved, 1000)
    assert norms[0] > 1
    assert norms[-1] < norms[0]


@pytest.mark.parametrize("shift", range(MAX_SHIFT + 1))
def test_a_pointer_moves_rows_down_and_blanks_the_top(shift, unbounded):
    x = np.random.default_rng(0).uniform(size=(2, 2, 6, 4)).astype(np.float32)
    pointer = RowPointer()
    params = jax.tree.map(np.zeros_like, random_params(pointer.init, x))
    params["params"]["score"]["bias"][:] = np.where(np.arange(MAX_SHIFT + 1) == shift, 30, -30)
    moved = jit(pointer.apply)(params, x)
    np.testing.assert_allclose(moved[:, :, shift:], x[:, :, : 6 - shift], atol=1e-5)
    np.testing.assert_allclose(moved[:, :, :shift], 0, atol=1e-5)


def test_a_pointer_can_clear_lines(unbounded):
    """Weights by hand: "full" is the one feature, and the shift of a row is the number of full rows below it."""
    pointer, sharp = RowPointer(units=11, features=1), 60.0
    apply = lambda params, *args: jit(pointer.apply, static_argnums=2)({"params": as_kept(params)}, *args)
    x = bits(5, 1, 8, 4)
    x[:, :, :3] = 0
    for n, full in enumerate([(), (7,), (5, 6), (3, 5, 7), (4, 5, 6, 7)]):
        x[n, 0, full, :] = 1
    params = jax.tree.map(np.zeros_like, random_params(pointer.init, x))["params"]
    params["rows"]["kernel"][:4, 0], params["rows"]["bias"][0] = 10, -25  # 15 where all four are set, else below 0
    params["feature"]["kernel"][0], params["feature"]["bias"][:] = 10, -20
    for d in range(MAX_SHIFT + 1):  # score of shift d: - sharp |full rows below - d|, by two units
        for unit, sign in ((2 * d, 1), (2 * d + 1, -1)):
            params["joint"]["kernel"][1, unit], params["joint"]["bias"][unit] = sign * sharp, -sign * sharp * d
            params["score"]["kernel"][unit, d] = -1
    params["joint"]["kernel"][0, 10], params["score"]["kernel"][10] = sharp, -4  # full rows go nowhere
    params["blank"]["bias"][:] = -10
    moved, hard = (apply(params, x, hard) for hard in (False, True))
    for n in range(5):
        kept = x[n, 0][x[n, 0].sum(1) < 4]
        expected = np.concatenate([np.zeros((8 - len(kept), 4)), kept])
        np.testing.assert_allclose(moved[n, 0], expected, atol=1e-3, err_msg=str(n))
        np.testing.assert_array_equal(hard[n, 0], expected, err_msg=str(n))
    # "Below" leaves out the row itself: a full row above all others, allowed to move, stays.
    params["score"]["kernel"][10] = 0
    x[:, :, 0], x[:, :, 1:, 0] = 1, 0
    np.testing.assert_allclose(apply(params, x), x, atol=1e-3)


def test_a_pointer_reads_how_much_of_a_row_each_channel_fills():
    """Weights by hand: one feature of the least, mean and greatest of channel 1 in each row."""
    x = np.array([[[[0, 1, 1], [1, 0, 1]], [[1, 1, 1], [0, 0, 0.5]]]], np.float32)  # [1, C, H, W]
    pointer = RowPointer(units=3, features=3)
    params = jax.tree.map(np.zeros_like, random_params(pointer.init, x))["params"]
    cells, channels = 6, 2
    for unit in range(3):
        params["rows"]["kernel"][cells + unit * channels + 1, unit] = 1
        params["rows"]["bias"][unit] = 1  # twice what is filled
        params["feature"]["kernel"][unit, unit] = 1
    feature = pointer.apply({"params": as_kept(params)}, x, method="row_features")
    filled = 2 * np.array([[1, 1, 1], [0, 0.5 / 3, 0.5]])
    np.testing.assert_allclose(feature[0], 1 / (1 + np.exp(-filled / (1 + np.exp(-filled)))), rtol=1e-5)


@pytest.mark.parametrize("height", [3, 9])
def test_pointers_keep_probabilities_probabilities(height):
    x = np.random.default_rng(0).uniform(size=(16, 2, height, 4)).astype(np.float32)
    x[:4], x[4:8] = 1, 0
    pointer = RowPointer()
    moved = jit(pointer.apply)(random_params(pointer.init, x), x)
    assert moved.shape == x.shape
    assert np.all((moved >= 0) & (moved <= 1 + 1e-6))
    assert np.all(moved[4:8] == 0)


def test_a_hard_pointer_takes_the_heaviest_shift_alone(unbounded):
    x = np.random.default_rng(0).uniform(size=(32, 2, 9, 4)).astype(np.float32)
    pointer = RowPointer()
    params = as_kept(random_params(pointer.init, x, scale=1.5, seed=1)["params"])
    params["score"]["bias"][:], params["blank"]["bias"][:] = 0, 3
    apply = jit(pointer.apply, static_argnums=2)
    hard = apply({"params": params}, x, True)
    np.testing.assert_allclose(hard, apply({"params": sharpened(params)}, x, False), atol=1e-2)
    rows = lambda y: np.asarray(y).swapaxes(1, 2).reshape(32, 9, -1)
    source = np.all(rows(hard)[:, :, None] == rows(x)[:, None], -1)
    blank = np.all(rows(hard) == 0, -1)
    shift = np.arange(9) - np.argmax(source, -1)
    assert np.all(source.any(-1) ^ blank)
    assert len(set(shift[~blank])) >= 3 and blank.any(), "the example has several cases"
