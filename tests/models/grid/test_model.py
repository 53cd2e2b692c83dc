"""The grid world model: what reads what, what imagination and loss share, and that it learns."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dreamjax.agents.agent import make_agent
from dreamjax.agents.open_loop import make_open_loop
from dreamjax.algorithms.distributions import observation_mode
from dreamjax.algorithms.world_model_loss import observe_window, window_inputs, world_model_loss
from dreamjax.models.encoders import preprocess
from dreamjax.models.grid import pointer as pointer_lib
from dreamjax.models.grid.layout import split_state
from dreamjax.types import Batch, EnvSpec
from tests.helpers import networks
from tests.helpers.batches import random_batch
from tests.helpers.configs import make_tiny_config
from tests.helpers.grids import (
    CASES,
    CLASS,
    SPECS,
    as_kept,
    board,
    case,
    compiled,
    filtered,
    grid_config,
    jit,
    keys,
    sharpened,
)
from tests.helpers.parameters import noise_like


@pytest.fixture
def unbounded(monkeypatch):
    monkeypatch.setattr(pointer_lib, "SCORE", 1e9)


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
    model = compiled(networks.world_model(grid_config(reach), SPECS[name]))
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
    if name == "colors":
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
    model = networks.world_model(grid_config(reach), SPECS[name])
    state, action, _, embed, post, _ = filtered(name, reach)

    def score(previous, action, post):
        leaves = jax.tree.leaves(model.predict(params, previous, action, post))
        return sum(jnp.sum(x * noise_like(x)) for x in leaves)

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
    model, batch = networks.world_model(grid_config(reach), SPECS[name]), random_batch(SPECS[name])
    action, is_first, start, previous = window_inputs(model, SPECS[name], batch)
    if kept:
        is_first = jnp.asarray(batch.is_first)
        start = jax.tree.map(jnp.asarray, noise_like(start))
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
    chex.assert_trees_all_close(at_once, by_step, rtol=1e-4, atol=1e-5)
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
    batch, config = random_batch(spec), grid_config(2)
    model = networks.world_model(config, spec)
    kept = batch.replace(context=jax.tree.map(np.asarray, model.initial(4)))

    @jit
    def losses(params):
        def losses_of(needs, batch):
            bundle = model._replace(needs_previous=needs)
            return world_model_loss(params, bundle, spec, config.loss, batch, jax.random.key(0), symlog=True)[2][1:]

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
    after, metrics, _ = jax.eval_shape(agent.update, state, random_batch(SPECS[name]))
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
    assert {f"train/loss/rec_{key}" for key in SPECS[name].obs} <= set(metrics)


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
    model = networks.world_model(config, spec)
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, 250))

    def loss(params, batch, key):
        return world_model_loss(params, model, spec, config.loss, batch, key, symlog=True)[0]

    @jit
    def train(init_key, key, batches):
        def update(carry, inputs):
            params, opt_state = carry
            gradient = jax.grad(loss)(params, inputs[1], jax.random.fold_in(key, inputs[0]))
            change, opt_state = optimizer.update(gradient, opt_state)
            return (optax.apply_updates(params, change), opt_state), None

        params = model.init(init_key)
        (trained, _), _ = jax.lax.scan(update, (params, optimizer.init(params)), (jnp.arange(250), batches))
        feat = jnp.ones(model.feat_size)
        return trained, (model.reward(params, feat), model.cont(params, feat))

    rng = np.random.default_rng(0)
    data, unseen = falling_blocks(rng, 64, 64), falling_blocks(rng, 64, 40)
    batches = [cut(data, rng.integers(0, 64, 64), rng.integers(0, 63, 64), 2) for _ in range(250)]
    params, heads = train(jax.random.key(0), jax.random.key(1), jax.tree.map(lambda *x: np.stack(x), *batches))
    assert not any(map(np.any, heads)), "rewards and continues begin at zero"
    batch = cut(unseen, np.repeat(np.arange(64), 13), np.tile(np.arange(0, 39, 3), 64), 2)
    open_loop = jit(functools.partial(make_open_loop(model, spec, symlog=config.model.symlog), context=1))
    guess = open_loop({"world_model": params}, batch, jax.random.key(2))["next"]["board"][:, 0]
    now, following = np.swapaxes(batch.obs["board"], 0, 1)
    exact = lambda x: np.mean(np.all(x == following, (1, 2, 3))[~batch.is_first[:, 1]])
    assert exact(now) < 0.02
    assert exact(guess) > 0.95
