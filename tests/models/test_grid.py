"""The grid world model: its parts against NumPy, what is shared over places, what reads what, and that it learns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small
from conftest import make_tiny_config

from dreamjax.agents.agent import make_agent, make_open_loop
from dreamjax.algorithms.distributions import observation_mode
from dreamjax.algorithms.world_model_loss import observe_window, window_inputs, world_model_loss
from dreamjax.config import ConfigError
from dreamjax.models import grid_layers
from dreamjax.models.encoders import preprocess
from dreamjax.models.grid_layers import (
    GAIN,
    MAX_SHIFT,
    BandEdit,
    CellScores,
    GridLayout,
    LocalEdit,
    RowPointer,
    bounded,
    button_pairs,
    focus_place,
    grid_layout,
    place,
    split_state,
    window,
)
from dreamjax.types import ActionPart, ActionSpec, Batch, EnvSpec, ObsSpec


def board(channels, height, width, classes=2):
    return ObsSpec("grid", (channels, height, width), "uint8", classes)


def mask(size):
    return ObsSpec("mask", (size,), "int8")


CLASS = lambda size, masked=False: ActionSpec((ActionPart("categorical", size, masked=masked),))
BUTTONS = ActionSpec((ActionPart("binary", 3),))
PIECE, KIND = ObsSpec("vector", (3,), "float32"), ObsSpec("discrete", (2,), "int32", 3)
SPECS = {
    "cells": EnvSpec({"piece": PIECE, "action_mask": mask(30), "board": board(1, 6, 5)}, CLASS(30, masked=True)),
    "object": EnvSpec({"piece": PIECE, "board": board(2, 6, 5), "kind": KIND}, BUTTONS),
    "colours": EnvSpec({"board": board(2, 5, 7, classes=3), "kind": KIND}, ActionSpec((ActionPart("continuous", 2),))),
    "alone": EnvSpec({"board": board(1, 6, 4)}, BUTTONS),
    "alone, cells, low": EnvSpec({"board": board(1, 3, 3)}, CLASS(9)),
    "narrow, mask of four": EnvSpec({"board": board(2, 2, 1), "action_mask": mask(4)}, CLASS(4, masked=True)),
}
CASES = [("cells", 2), ("object", 0), ("object", 1), ("colours", 0), ("colours", 2)]
WIDE = GridLayout("board", 2, 14, 16, 2, (), (), 0, 8, 5, "action")
jit = functools.partial(jax.jit, compiler_options=small.QUICK)


def grid_config(reach, **model):
    return make_tiny_config(model={"kind": "grid", "reach": reach, **model})


@functools.cache
def case(name, reach):
    """Model, parameters, layout and compiled functions of a case."""
    config = grid_config(reach)
    model = small.world_model(config, SPECS[name])
    names = ("embed", "observe", "imagine", "predict")
    fast = model._replace(**{part: jit(getattr(model, part)) for part in names})
    return fast, small.random_params(model.init), grid_layout(config.model, SPECS[name])


def filtered(name, reach, is_first=False, state=None):
    """One observed step of four rows: the state before, the action, what is seen, and the posterior."""
    model, params, _ = case(name, reach)
    batch = small.random_batch(SPECS[name], batch=4, length=3)
    action = window_inputs(model, SPECS[name], batch)[0][:, 1]
    obs = {k: v[:, 1] for k, v in batch.obs.items()}
    embed = model.embed(params, preprocess(SPECS[name].obs, obs))
    if state is None:
        before = {k: v[:, 0] for k, v in batch.obs.items()}
        first = model.embed(params, preprocess(SPECS[name].obs, before))
        state, _ = model.observe(params, model.initial(4), action, first, np.ones(4, bool), keys(0))
    post, logit = model.observe(params, state, action, embed, np.broadcast_to(is_first, 4), keys(1))
    return state, action, obs, embed, post, logit


def keys(seed):
    return jax.random.split(jax.random.key(seed), 4)


def bits(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32)


# The parts.


def test_window_against_numpy_and_place_is_its_transpose():
    x, row, column = bits(4, 2, 6, 5), np.array([0, 5, 2, 3]), np.array([4, 0, 2, 1])
    rows, columns = (2, 1), (1, 3)
    got = window(x, row, column, rows, columns)
    assert got.shape == (4, 3, 4, 5)
    for n in range(4):
        for i in range(4):
            for j in range(5):
                r, c = row[n] - 2 + i, column[n] - 1 + j
                inside = 0 <= r < 6 and 0 <= c < 5
                expected = [*x[n, :, r, c], 0] if inside else [0, 0, 1]
                np.testing.assert_array_equal(got[n, :, i, j], expected, f"{n} {i} {j}")
    edit = np.random.default_rng(1).normal(size=(4, 2, 4, 5)).astype(np.float32)
    transposed = jax.vjp(lambda x: window(x, row, column, rows, columns)[:, :-1], x)[1](edit)[0]
    np.testing.assert_allclose(place(edit, row, column, (6, 5), 2, 1), transposed, atol=1e-6)


def test_layouts():
    config = grid_config(0)
    cells, thing, colours, alone = (
        grid_layout(config.model, SPECS[name]) for name in ("cells", "object", "colours", "alone")
    )
    assert cells == ("board", 1, 6, 5, 2, ("piece",), (3,), 3, 16, 16, "action")
    assert thing == ("board", 2, 6, 5, 2, ("kind", "piece"), (6, 3), 9, 16, 16, "object")
    assert colours == ("board", 6, 5, 7, 3, ("kind",), (6,), 6, 16, 16, "object")
    assert alone == ("board", 1, 6, 4, 2, (), (), 0, 16, 16, "centre")
    assert (colours.cells, colours.deter) == (210, 248)


def test_the_place_of_the_action():
    cells = np.zeros((3, 2, 6, 5), np.float32)
    cells[:, 0] = 1  # the first channel does not count
    cells[0, 1, 2, 3] = cells[0, 1, 3, 1] = cells[1, 1, 5, 4] = 1
    action = np.eye(30, dtype=np.float32)[[13, 29, 0]]
    for focus, expected in (
        ("action", ([2, 5, 0], [3, 4, 0])),
        ("object", ([2, 5, 0], [1, 4, 2])),
        ("centre", ([3] * 3, [2] * 3)),
    ):
        layout = GridLayout("board", 2, 6, 5, 2, (), (), 0, 8, 5, focus)
        np.testing.assert_array_equal(focus_place(layout, cells, action), expected, focus)


def test_split_state_gives_back_what_was_joined():
    layout = grid_layout(grid_config(0).model, SPECS["object"])
    cells, vector, memory = bits(2, 3, 2, 6, 5), np.full((2, 3, 9), 0.5), np.full((2, 3, 32), 2.0)
    deter = np.concatenate([cells.reshape(2, 3, -1), vector, memory], -1)
    assert deter.shape[-1] == layout.deter
    for got, expected in zip(split_state(layout, deter), (cells, vector, memory), strict=True):
        np.testing.assert_array_equal(got, expected)


def as_kept(params):
    """A pointer's kernels as they are kept, given as they act."""
    return {name: {**layer, "kernel": layer["kernel"] / GAIN} for name, layer in params.items()}


@pytest.fixture
def unbounded(monkeypatch):
    monkeypatch.setattr(grid_layers, "SCORE", 1e9)


def test_bounded_logits_pass_gradients_that_lead_back():
    x, slope = np.float32([-7, -7, -2, 0, 2, 7, 7]), np.float32([1, -1, 1, -1, -1, 1, -1])
    value, back = jax.vjp(lambda x: bounded(x, 5.0), x)
    np.testing.assert_array_equal(value, [-5, -5, -2, 0, 2, 5, 5])
    # A step goes against the gradient: up at -7 and down at 7 lead back.
    np.testing.assert_array_equal(back(slope)[0], [0, -1, 1, -1, -1, 1, 0])


def test_a_pointer_that_is_sure_of_no_shift_still_learns_one():
    """After 1,000 boards of which no row moved, the gradient for one whose rows did is not lost."""
    x, pointer = bits(4, 1, 8, 4), RowPointer()
    params = small.random_params(pointer.init, x)
    moved = np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]

    def loss(params, target):
        probs = jnp.clip(pointer.apply(params, x), 1e-5, 1 - 1e-5)
        return -jnp.mean(jnp.log(jnp.where(target > 0, probs, 1 - probs)))

    optimiser = optax.adam(2e-2)

    @jit
    def learn(params, target, count):
        def step(carry, _):
            params, state = carry
            grad = jax.grad(loss)(params, target)
            updates, state = optimiser.update(grad, state)
            return (optax.apply_updates(params, updates), state), optax.tree.norm(grad)

        return jax.lax.scan(step, (params, optimiser.init(params)), length=1000)

    (sure, _), norms = learn(params, x, 1000)
    assert norms[-1] < 1e-3 and loss(sure, x) < 0.01
    (_, _), norms = learn(sure, moved, 1000)
    assert norms[0] > 1
    assert norms[-1] < norms[0]


def test_pairs_of_buttons():
    spec = ActionSpec(
        (ActionPart("categorical", 2), ActionPart("binary", 2), ActionPart("continuous", 1), ActionPart("binary", 1))
    )
    first, second = button_pairs(spec)
    np.testing.assert_array_equal(first, [2, 2, 3])
    np.testing.assert_array_equal(second, [3, 5, 5])
    assert button_pairs(ActionSpec((ActionPart("categorical", 5),)))[0].size == 0


@pytest.mark.parametrize("shift", range(MAX_SHIFT + 1))
def test_a_pointer_moves_rows_down_and_blanks_the_top(shift, unbounded):
    x = np.random.default_rng(0).uniform(size=(2, 2, 6, 4)).astype(np.float32)
    pointer = RowPointer()
    params = jax.tree.map(np.zeros_like, small.random_params(pointer.init, x))
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
    params = jax.tree.map(np.zeros_like, small.random_params(pointer.init, x))["params"]
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
    params = jax.tree.map(np.zeros_like, small.random_params(pointer.init, x))["params"]
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
    moved = jit(pointer.apply)(small.random_params(pointer.init, x), x)
    assert moved.shape == x.shape
    assert np.all((moved >= 0) & (moved <= 1 + 1e-6))
    assert np.all(moved[4:8] == 0)


def sharpened(pointer):
    """A pointer's parameters with the same heaviest shift of every row, which outweighs all others."""
    factor = {"kernel": 1e3, "bias": 1e3}
    heavy = {name: jax.tree.map(lambda x, f: x * f, dict(pointer[name]), factor) for name in ("score", "blank")}
    for part in heavy.values():
        part["bias"] = part["bias"] + 1e5  # above the scores of what is never taken
    return {**pointer, **heavy}


def test_a_hard_pointer_takes_the_heaviest_shift_alone(unbounded):
    x = np.random.default_rng(0).uniform(size=(32, 2, 9, 4)).astype(np.float32)
    pointer = RowPointer()
    params = as_kept(small.random_params(pointer.init, x, scale=1.5, seed=1)["params"])
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


# What is shared over places.


def edits(module, cells, row, column):
    cond = np.random.default_rng(2).normal(size=(1, 4)).astype(np.float32)
    args = (jnp.asarray(cells), jnp.zeros_like(cells), np.array([row]), np.array([column]), cond)
    return np.asarray(compiled(module)(small.random_params(module.init, *args), *args)[0])


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


def test_band_edits_move_over_columns_and_see_the_whole_band():
    band = BandEdit(WIDE, 16, "silu", jnp.float32)
    cells = bits(1, 2, 14, 16)
    here = edits(band, cells, 3, 4)
    np.testing.assert_allclose(
        edits(band, np.roll(cells, 5, 3), 3, 9), np.roll(here, 5, 3), atol=1e-5, err_msg="shared over columns"
    )
    assert np.all(here[..., 2:10] != 0) and np.count_nonzero(here) == 2 * 14 * 8
    for source, target in ((0, 13), (13, 0)):  # far beyond the rows that layers see: by hazards alone
        changed = cells.copy()
        changed[:, :, source, 4] = 1 - changed[:, :, source, 4]
        difference = np.abs(edits(band, changed, 3, 4) - here)[0, :, target].max()
        assert difference > 0, f"row {source} does not reach row {target}"
    outside = cells.copy()
    outside[..., :2], outside[..., 10:] = 1 - outside[..., :2], 1 - outside[..., 10:]
    np.testing.assert_array_equal(edits(band, outside, 3, 4), here, "what lies beside the band is not seen")


def test_scores_of_cells_move_over_columns_and_are_local():
    layout = WIDE._replace(entries=("piece",), sizes=(3,), vector=3)
    scores = CellScores(layout, 2, 16, "silu", jnp.float32)
    rest = np.random.default_rng(1).normal(size=(1, 3 + 13 + 4)).astype(np.float32)
    feat = lambda cells: jnp.asarray(np.concatenate([cells.reshape(1, -1), rest], -1))
    cells = bits(1, 2, 14, 16)
    params = small.random_params(scores.init, feat(cells))
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


# The whole model.


@pytest.mark.parametrize(("name", "reach"), CASES)
def test_a_posterior_holds_what_was_observed_and_decodes_to_it(name, reach):
    model, params, layout = case(name, reach)
    _, _, obs, _, post, _ = filtered(name, reach)
    cells = split_state(layout, post.deter)[0]
    np.testing.assert_array_equal(cells, preprocess(SPECS[name].obs, obs)["board"])
    decoded = model.decode(params, model.feat(post))
    assert set(decoded) == set(obs) - {"action_mask"}
    for key, prediction in decoded.items():
        seen = observation_mode(SPECS[name].obs[key], prediction, True)
        np.testing.assert_allclose(seen, obs[key], rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.parametrize(("name", "reach"), CASES)
def test_imagined_cells_are_sharp_and_are_what_predict_says(name, reach, unbounded):
    """Imagination and the loss use one prediction: the same state, action, memory and latent give the same board, where
    the pointer of the loss, too, takes the heaviest shift alone."""
    _, params, layout = case(name, reach)
    model = small.world_model(grid_config(reach), SPECS[name])
    mild = as_kept(params["pointer"])
    params = {**params, "pointer": sharpened(mild)}
    state, action, *_ = filtered(name, reach)
    after, logit = model.imagine(params, state, action, keys(2))
    soft, _ = model.imagine({**params, "pointer": mild}, state, action, keys(2))
    np.testing.assert_array_equal(after.deter, soft.deter, "imagination takes the heaviest shift in any case")
    cells, vector, _ = split_state(layout, after.deter)
    assert np.all((cells == 0) | (cells == 1))
    assert np.any(cells != split_state(layout, state.deter)[0]), "random weights change something"
    np.testing.assert_allclose(model.prior_logit(params, after.deter), logit, rtol=1e-5, atol=1e-6)
    predicted = model.predict(params, state, action, after)
    again = model.decode(params, model.feat(after))
    for key, entry in SPECS[name].obs.items():
        if entry.kind in ("grid", "discrete"):
            np.testing.assert_array_equal(
                *(observation_mode(entry, x[key], True) for x in (predicted, again)), err_msg=key
            )
        elif entry.kind == "vector":
            np.testing.assert_allclose(predicted[key], again[key], rtol=1e-4, atol=1e-5)
    if name == "colours":
        np.testing.assert_array_equal(cells.reshape(4, 2, 3, 5, 7).sum(2), 1)
        np.testing.assert_array_equal(vector.reshape(4, 2, 3).sum(-1), 1)
        np.testing.assert_array_equal(vector, vector.round())


def test_a_prediction_by_hand():
    """Cells keep what they are, the pointer moves the channels that are movable, then an absolute edit sets two cells."""
    model, params, layout = case("object", 1)
    state, action, _, _, post, _ = filtered("object", 1)
    params = jax.tree.map(np.zeros_like, params)
    params["keep"][:], params["movable"][:] = 8, np.array([20, -20])[:, None, None]
    params["pointer"]["score"]["bias"][:] = [-30, 30, -30, -30, -30]
    params["absolute"]["Dense_0"]["dense"]["bias"][[14, -1]] = 100  # channel 0, row 2, column 4; the last cell
    board = split_state(layout, state.deter)[0]
    expected = np.array(board)
    expected[:, 0] = np.pad(expected[:, 0], ((0, 0), (1, 0), (0, 0)))[:, :-1]
    expected[:, 0, 2, 4] = expected[:, 1, 5, 4] = 1
    np.testing.assert_array_equal(model.predict(params, state, action, post)["board"] > 0, expected)


@pytest.mark.parametrize(("name", "reach"), CASES)
def test_what_predictions_read(name, reach):
    """Cells, vector and action before; memory and latent after. Of the next observation, only what the latent tells."""
    _, params, layout = case(name, reach)
    model = small.world_model(grid_config(reach), SPECS[name])
    state, action, _, embed, post, _ = filtered(name, reach)

    def score(previous, action, post):
        leaves = jax.tree.leaves(model.predict(params, previous, action, post))
        return sum(jnp.sum(x * small.noise_like(x)) for x in leaves)

    def routes(previous, action, embed, post):
        def through(embed):
            return score(state, action, model.observe(params, state, action, embed, np.zeros(4, bool), keys(1))[0])

        return *jax.grad(score, (0, 2))(previous, action, post), jax.grad(through)(embed)

    previous, after, through = jit(routes)(state, action, embed, post)
    some = lambda x: bool(np.any(np.asarray(x) != 0))
    assert [some(x) for x in (*split_state(layout, previous.deter), previous.stoch)] == [
        True,
        layout.vector > 0,
        False,
        False,
    ]
    assert [some(x) for x in (*split_state(layout, after.deter), after.stoch)] == [False, False, True, True]
    units = make_tiny_config().model.units
    assert some(through[:, :units]) and not some(through[:, units:])
    other = np.roll(action, 1, -1) if layout.focus == "action" else -action + 1
    predict = case(name, reach)[0].predict
    assert some(predict(params, state, other, post)["board"] - predict(params, state, action, post)["board"])


@pytest.mark.parametrize(("name", "reach", "kept"), [("cells", 2, False), ("object", 0, True)])
def test_effects_of_a_window_at_once_are_those_of_its_steps(name, reach, kept):
    """With resets at the first step and inside; from the state before the window or from none."""
    _, params, layout = case(name, reach)
    model, batch = small.world_model(grid_config(reach), SPECS[name]), small.random_batch(SPECS[name])
    action, is_first, start, previous = window_inputs(model, SPECS[name], batch)
    if kept:
        is_first = jnp.asarray(batch.is_first)
        start = jax.tree.map(jnp.asarray, small.noise_like(start))
        # A state's cells are observed ones, or read: never between.
        cells = start.deter[:, : layout.cells] > 0.5
        start = start.replace(deter=start.deter.at[:, : layout.cells].set(cells.astype(start.deter.dtype)))
    embed = model.embed(params, preprocess(SPECS[name].obs, batch.obs))

    @jit
    def both(params, embed):
        args = params, embed, action, is_first, start, previous, keys(0)
        taken = jnp.concatenate([previous[:, None], action[:, :-1]], 1)
        effects = model.fast.hoist(params, None, start, embed, taken, is_first)
        return observe_window(model, *args), observe_window(model._replace(fast=None), *args), effects

    at_once, by_step, effects = both(params, embed)
    for a, b in zip(jax.tree.leaves(at_once), jax.tree.leaves(by_step), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    memory = split_state(layout, at_once.state.deter)[2]
    np.testing.assert_array_equal(memory[..., layout.recurrent :], effects)
    effects, first = np.asarray(effects), np.asarray(is_first)
    nothing = effects[first][:1]
    np.testing.assert_allclose(effects[first], nothing * np.ones((first.sum(), 1)), atol=1e-5)
    assert np.abs(effects[~first] - nothing).max(-1).min() > 1e-3


def test_first_steps_without_a_past_are_not_reconstructed():
    """Only those: not an episode's first step, not one whose state before was kept, and no other loss."""
    spec = SPECS["cells"]
    _, params, _ = case("cells", 2)
    batch, config = small.random_batch(spec), grid_config(2)
    model = small.world_model(config, spec)
    kept = batch.replace(context=jax.tree.map(np.asarray, model.initial(4)))

    @jit
    def losses(params):
        def losses_of(needs, batch):
            bundle = model._replace(needs_previous=needs)
            return world_model_loss(params, bundle, spec, config.loss, batch, jax.random.key(0), symlog=True)[1][1:]

        return [losses_of(needs, window) for window in (batch, kept) for needs in (True, False)]

    (without, metrics), (whole, whole_metrics), (context, _), (whole_context, _) = losses(params)
    left_out = np.zeros((4, 6), bool)
    left_out[1:, 0] = True  # row 0 begins an episode
    np.testing.assert_array_equal(without != whole, left_out)
    assert np.all(without <= whole)
    np.testing.assert_array_equal(context, whole_context)
    differ = {name for name in metrics if metrics[name] != whole_metrics[name]}
    assert differ == {"train/world_model_loss", *(f"train/loss/rec_{entry}" for entry in spec.obs)}
    share = sum(
        float(whole_metrics[f"train/loss/rec_{entry}"] - metrics[f"train/loss/rec_{entry}"]) for entry in spec.obs
    )
    np.testing.assert_allclose(config.loss.rec * share, np.mean(whole - without), rtol=1e-4)


@pytest.mark.parametrize(("name", "reach"), CASES[:2])
def test_resets_and_rows(name, reach):
    """A reset row forgets state and action, no other row notices, and rows read only themselves."""
    model, params, _ = case(name, reach)
    plain, plain_logit = filtered(name, reach)[4:]
    reset, _ = filtered(name, reach, is_first=np.array([False, True, False, False]))[4:]
    empty, _ = filtered(name, reach, is_first=True, state=model.initial(4))[4:]
    for a, b, c in zip(*map(jax.tree.leaves, (plain, reset, empty)), strict=True):
        np.testing.assert_array_equal(np.delete(a, 1, 0), np.delete(b, 1, 0))
        np.testing.assert_array_equal(b[1], c[1])
    assert not np.array_equal(plain.deter[1], reset.deter[1])
    state, action, _, embed, *_ = filtered(name, reach)
    half = jax.tree.map(lambda x: x[2:], (state, action, embed, np.zeros(4, bool), keys(1)))
    np.testing.assert_allclose(model.observe(params, *half)[1], plain_logit[2:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in SPECS if name != "object"])
def test_a_whole_update_fits_together(name):
    """Losses, imagination, actor and critic agree on shapes: also a grid alone, low or narrow, or a mask of no cells."""
    agent = make_agent(grid_config(len(name) % 2), SPECS[name])
    state = jax.eval_shape(agent.init, jax.random.key(0))
    after, metrics, _ = jax.eval_shape(agent.update, state, small.random_batch(SPECS[name]))
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
    assert {f"train/loss/rec_{key}" for key in SPECS[name].obs} <= set(metrics)


@pytest.mark.parametrize(
    "obs",
    [{"piece": PIECE}, {"a": board(1, 4, 4), "b": board(1, 4, 4)},
     {"a": board(1, 4, 4), "camera": ObsSpec("image", (8, 8, 3), "uint8")}],
)  # fmt: skip
def test_only_one_grid_and_no_image(obs):
    with pytest.raises(ConfigError, match=r"model\.kind='grid' is not allowed: it needs exactly one grid and no image"):
        small.world_model(grid_config(0), EnvSpec(obs, BUTTONS))


# Learning.


def falling_blocks(rng, streams, length):
    """A game for tests, without chance: a block two wide falls on a 6 x 4 board; 0, 1, 2: left, stay, right.

    It stays where it cannot fall; a full row goes and what is above comes down; a new block begins at the top.
    """
    obs = np.zeros((streams, length, 2, 6, 4), np.uint8)
    action = rng.integers(0, 3, (streams, length, 1)).astype(np.int32)
    is_first = np.zeros((streams, length), bool)
    for n in range(streams):
        stack, row, column = np.zeros((6, 4), np.uint8), 0, 1
        for t in range(length):
            if stack[row, column : column + 2].any():  # no room: the game begins again
                stack[:], is_first[n, t] = 0, True
            obs[n, t, 0] = stack
            obs[n, t, 1, row, column : column + 2] = 1
            aside = int(np.clip(column + action[n, t, 0] - 1, 0, 2))
            column = column if stack[row, aside : aside + 2].any() else aside
            row += 1
            if row == 6 or stack[row, column : column + 2].any():
                stack[row - 1, column : column + 2] = 1
                kept = stack[stack.sum(1) < 4]
                stack = np.concatenate([np.zeros((6 - len(kept), 4), np.uint8), kept])
                row, column = 0, 1
    return obs, action, is_first


def cut(data, streams, starts, length):
    """Windows of streams as a batch."""
    obs, action, is_first = (x[streams[:, None], starts[:, None] + np.arange(length)] for x in data)
    zeros = np.zeros(is_first.shape)
    return Batch(
        obs={"board": obs}, action=action, reward=zeros.astype(np.float32), is_first=is_first,
        is_last=zeros > 0, is_terminal=zeros > 0, row=np.arange(len(streams), dtype=np.int32), prev_action=action[:, 0],
    )  # fmt: skip


def test_a_small_grid_model_learns_the_rules_of_falling_blocks():
    """On boards it has not seen, from 250 updates. "Nothing changes" is never right, for the block always falls."""
    spec = EnvSpec({"board": board(2, 6, 4)}, CLASS(3))
    config = grid_config(2, units=96)
    model = small.world_model(config, spec)
    optimiser = optax.adam(optax.cosine_decay_schedule(1e-2, 250))

    def loss(params, batch, key):
        return world_model_loss(params, model, spec, config.loss, batch, key, symlog=True)[0]

    @jit
    def train(init_key, key, batches):
        def update(carry, inputs):
            params, opt_state = carry
            gradient = jax.grad(loss)(params, inputs[1], jax.random.fold_in(key, inputs[0]))
            change, opt_state = optimiser.update(gradient, opt_state)
            return (optax.apply_updates(params, change), opt_state), None

        params = model.init(init_key)
        (trained, _), _ = jax.lax.scan(update, (params, optimiser.init(params)), (jnp.arange(250), batches))
        feat = jnp.ones(model.feat_size)
        return trained, (model.reward(params, feat), model.cont(params, feat))

    rng = np.random.default_rng(0)
    data, unseen = falling_blocks(rng, 64, 64), falling_blocks(rng, 64, 40)
    batches = [cut(data, rng.integers(0, 64, 64), rng.integers(0, 63, 64), 2) for _ in range(250)]
    params, heads = train(jax.random.key(0), jax.random.key(1), jax.tree.map(lambda *x: np.stack(x), *batches))
    assert not any(map(np.any, heads)), "rewards and continues begin at zero"
    batch = cut(unseen, np.repeat(np.arange(64), 13), np.tile(np.arange(0, 39, 3), 64), 2)
    open_loop = jit(functools.partial(make_open_loop(model, config, spec), context=1))
    guess = open_loop({"world_model": params}, batch, jax.random.key(2))["next"]["board"][:, 0]
    now, following = np.swapaxes(batch.obs["board"], 0, 1)
    exact = lambda x: np.mean(np.all(x == following, (1, 2, 3))[~batch.is_first[:, 1]])
    assert exact(now) < 0.02
    assert exact(guess) > 0.95
