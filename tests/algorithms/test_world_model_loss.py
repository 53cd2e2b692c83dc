"""Filtering a window (who depends on what, resets, scan against a loop) and the world model's losses."""

import dataclasses
import functools
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.algorithms import world_model_loss as wml
from dreamjax.algorithms.randomness import row_keys
from dreamjax.types import RSSMState
from tests.helpers import networks
from tests.helpers.batches import EVERY_ACTION, random_batch
from tests.helpers.configs import vary
from tests.helpers.parameters import random_params
from tests.helpers.xla import QUICK

SPEC = EVERY_ACTION
B, T, A = 4, 6, SPEC.action.vector_size
CASES = [{"latent": "categorical", "cell": "block_gru"}, {"latent": "gaussian", "cell": "gru"}]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case["latent"])
def case(request, tiny_config):
    return make_case(vary(tiny_config, model=request.param))


def make_case(config):
    """Configuration, world model and random parameters."""
    world_model = networks.world_model(config, SPEC)
    return config, world_model, random_params(world_model.init)


@pytest.fixture(scope="module")
def categorical(tiny_config):
    return make_case(tiny_config)


def window(config, seed=0):
    """Embeddings, action vectors, start state and previous action; nothing zero."""
    rng = np.random.default_rng(seed)
    world_model = networks.world_model(config, SPEC)
    embed = rng.normal(size=(B, T, config.model.hidden)).astype(np.float32)
    action = rng.normal(size=(B, T, A)).astype(np.float32)
    start = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), world_model.initial(B))
    return embed, action, start, rng.normal(size=(B, A)).astype(np.float32)


def loss_of(params, world_model, config, batch, key):
    """The loss, and (posterior, loss by step, metrics)."""
    loss, _, rest = wml.world_model_loss(params, world_model, SPEC, config.loss, batch, key, symlog=config.model.symlog)
    return loss, rest


def timeless(world_model):
    """The same world model with the same noise at every step: where in the window a step lies then makes no difference."""

    def observe(params, state, action, embed, is_first, keys):
        noise = jax.random.split(jax.random.key(7), B)
        return world_model.observe(params, state, action, embed, is_first, noise)

    return world_model._replace(observe=observe)


def test_who_depends_on_what(case):
    """Contract 7: post[t] depends on action[t-1], not on action[t], and on nothing before an is_first."""
    config, world_model, params = case
    embed, action, start, prev = window(config)
    is_first = np.zeros((B, T), bool)
    is_first[1, 2] = is_first[3, 5] = is_first[2, 0] = True
    weight = np.random.default_rng(1).normal(size=(B, config.model.deter)).astype(np.float32)

    def summary(embed, action, start, prev):
        keys = jax.random.split(jax.random.key(0), B)
        post = wml.observe_window(world_model, params, embed, action, jnp.array(is_first), start, prev, keys)
        logits = jnp.sum(jnp.square(post.logit), (2, 3))  # what q sees of obs[t]
        return jnp.sum(post.state.deter * weight[:, None], -1).T, logits.T  # [T, B] each

    deter, logit = jax.jit(jax.jacrev(summary, (0, 1, 2, 3)), compiler_options=QUICK)(embed, action, start, prev)
    pick = lambda jac: np.any(np.stack([np.asarray(jac)[:, b, b] for b in range(B)]) != 0, -1)  # [B, T, T]
    t, s = np.indices((T, T))
    steps = range(T)
    open_between = np.stack([[[not is_first[b, j + 1 : i + 1].any() for j in steps] for i in steps] for b in range(B)])
    np.testing.assert_array_equal(pick(deter[1]), (s < t) & open_between, err_msg="deter on actions")
    np.testing.assert_array_equal(pick(deter[0]), (s < t) & open_between, err_msg="deter on observations")
    np.testing.assert_array_equal(pick(logit[0]), (s <= t) & open_between, err_msg="posterior on observations")
    reached = np.stack([[not is_first[b, : i + 1].any() for i in range(T)] for b in range(B)])
    for name, jac in (("start", deter[2].deter), ("previous action", deter[3])):
        diagonal = np.stack([np.any(np.asarray(jac)[:, b, b] != 0, -1) for b in range(B)])
        np.testing.assert_array_equal(diagonal, reached, err_msg=name)
        assert not np.any(np.asarray(jac)[:, 0, 1:]), "rows read each other"


def test_resets_cut_windows(case):
    """Contract 8: observe(window with is_first at k)[k:] == observe(window[k:]) for every k, per row; a reset of one row
    leaves the others alone, bitwise."""
    config, world_model, params = case
    embed, action, start, prev = window(config)

    @jax.jit
    def observe(embed, action, is_first, start, prev):
        keys = jax.random.split(jax.random.key(0), B)
        return wml.observe_window(timeless(world_model), params, embed, action, is_first, start, prev, keys)

    plain = observe(embed, action, np.zeros((B, T), bool), start, prev)
    for k in range(T):
        is_first = np.zeros((B, T), bool)
        is_first[1, k] = True
        whole = observe(embed, action, is_first, start, prev)
        shifted = [np.roll(x, -k, 1) for x in (embed, action)]  # what follows the window's end is never looked at
        short = observe(*shifted, np.roll(is_first, -k, 1), start, prev)
        for a, b, c in zip(*map(jax.tree.leaves, (whole, short, plain)), strict=True):
            np.testing.assert_allclose(a[1, k:], b[1, : T - k], rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(np.delete(a, 1, 0), np.delete(c, 1, 0))
            np.testing.assert_array_equal(a[1, :k], c[1, :k])


def test_scan_equals_a_loop(case):
    """Contract 9: the same steps with the same keys, one by one; step t is given action[t-1]."""
    config, world_model, params = case
    embed, action, start, prev = window(config)
    is_first = np.zeros((B, T), bool)
    is_first[2, 3] = True
    keys = jax.random.split(jax.random.key(0), B)
    scanned = jax.jit(functools.partial(wml.observe_window, world_model))(
        params, embed, action, is_first, start, prev, keys
    )
    step, state = jax.jit(world_model.observe), start
    for t in range(T):
        fold = jax.jit(lambda keys, t: jax.vmap(lambda key: jax.random.fold_in(key, t))(keys))
        before = prev if t == 0 else action[:, t - 1]
        state, logit = step(params, state, before, embed[:, t], is_first[:, t], fold(keys, t))
        np.testing.assert_allclose(scanned.logit[:, t], logit, rtol=1e-3, atol=1e-4)
        chex.assert_trees_all_close(jax.tree.map(lambda x: x[:, t], scanned.state), state, rtol=1e-4, atol=1e-5)  # noqa: B023


def test_windows_begin_from_kept_latents_or_from_nothing(categorical):
    """Without kept latents every window begins as an episode does, with them only where one begins."""
    config, world_model, _ = categorical
    batch = random_batch(SPEC)
    action, is_first, start, prev = wml.window_inputs(world_model, SPEC, batch)
    assert action.shape == (B, T, A)
    assert prev.shape == (B, A)
    assert np.all(is_first[:, 0])
    np.testing.assert_array_equal(is_first[:, 1:], batch.is_first[:, 1:])
    assert not any(np.any(x) for x in jax.tree.leaves(start))
    kept = jax.tree.map(lambda x: np.ones(x.shape, np.float16), start)
    _, is_first, start, _ = wml.window_inputs(world_model, SPEC, batch.replace(context=kept))
    np.testing.assert_array_equal(is_first, batch.is_first)
    assert all(np.all(x == 1) and x.dtype == jnp.float32 for x in jax.tree.leaves(start))


# Losses.


@functools.cache
def compiled_loss(world_model, config):
    config = config.value
    loss = lambda p, batch, key: loss_of(p, world_model, config, batch, key)
    return jax.jit(loss, compiler_options=QUICK)


class Hashed(str):
    """A configuration as a key of the cache above."""

    value = None


def run_loss(config, world_model, params, batch):
    key = Hashed(repr(config))
    key.value = config
    return compiled_loss(world_model, key)(params, batch, jax.random.key(3))


def log_softmax(x):
    x = np.float64(x)
    return x - np.log(np.sum(np.exp(x), -1, keepdims=True))


def test_the_loss_against_numpy(case):
    """Contracts 3, 10, 15: KLs summed over latents, then held above the free nats by step, then averaged over (B, T);
    the continue target is 1 - is_terminal, times the discount; each head is read at its own step."""
    config, world_model, params = case
    is_categorical = config.model.latent == "categorical"
    free = 1.63 if is_categorical else 50.0
    config = vary(
        config,
        loss={
            "free_nats": free, "dyn": 0.7, "rep": 0.2, "rec": 1.1, "reward": 1.2, "cont": 1.3,
            "cont_discount": is_categorical,
            "gamma": 0.9,
        },
    )  # fmt: skip
    batch = random_batch(SPEC)
    loss, (post, by_step, metrics) = run_loss(config, world_model, params, batch)

    @jax.jit
    def parts(post):
        feat = world_model.feat(post.state)
        prior = world_model.prior_logit(params, post.state.deter)
        heads = world_model.reward(params, feat), world_model.cont(params, feat), world_model.mask(params, feat)
        return prior, *heads, world_model.decode(params, feat)["vector"]

    prior, reward, cont, mask, vector = (np.float64(x) for x in parts(post))
    left = np.float64(post.logit)
    if is_categorical:
        kl = np.sum(np.exp(left) * (left - prior), (-2, -1))
    else:
        (m, s), (n, r) = np.moveaxis(left, -1, 0), np.moveaxis(prior, -1, 0)
        kl = np.sum(np.log(r / s) + (s**2 + (m - n) ** 2) / (2 * r**2) - 0.5, -1)
    held = np.maximum(kl, free)
    assert 0 < np.mean(kl < free) < 1, "free nats should hold some steps and not others"
    bins = np.expm1(np.linspace(-20, 20, config.model.bins) * np.sign(np.linspace(-20, 20, config.model.bins)))
    bins *= np.sign(np.linspace(-20, 20, config.model.bins))
    upper = np.clip(np.searchsorted(bins, batch.reward, side="right"), 1, len(bins) - 1)
    weight = (batch.reward - bins[upper - 1]) / (bins[upper] - bins[upper - 1])
    log_p = log_softmax(reward)
    at = lambda index: np.take_along_axis(log_p, index[..., None], -1)[..., 0]
    target = (1 - batch.is_terminal) * (config.loss.gamma if is_categorical else 1)
    symlog = np.sign(batch.obs["vector"]) * np.log1p(np.abs(batch.obs["vector"]))
    expected = {
        "dyn": held,
        "rep": held,
        "reward": -(1 - weight) * at(upper - 1) - weight * at(upper),
        "cont": np.log1p(np.exp(cont)) - target * cont,
        "rec_vector": np.sum((vector - symlog) ** 2, -1),
        "rec_action_mask": np.sum(np.log1p(np.exp(mask)) - batch.obs["action_mask"] * mask, -1),
    }
    scales = {"dyn": 0.7, "rep": 0.2, "reward": 1.2, "cont": 1.3, "rec_vector": 1.1, "rec_action_mask": 1.1}
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[f"train/loss/{name}"], value.mean(), rtol=1e-3, err_msg=name)
    total = sum(scales[name] * value for name, value in expected.items())
    np.testing.assert_allclose(by_step, total, rtol=1e-3)
    np.testing.assert_allclose(loss, total.mean(), rtol=1e-3)
    np.testing.assert_allclose(metrics["train/kl"], kl.mean(), rtol=1e-3)


def test_truncation_is_not_termination(categorical):
    """Contract 3: a time limit does not change the loss, a termination does."""
    config, world_model, params = categorical
    batch = random_batch(SPEC)
    cont = lambda batch: float(run_loss(config, world_model, params, batch)[1][2]["train/loss/cont"])
    limit = batch.replace(is_last=np.ones_like(batch.is_last))
    assert cont(limit) == cont(batch)
    ended = batch.replace(is_terminal=np.ones_like(batch.is_terminal))
    none = batch.replace(is_terminal=np.zeros_like(batch.is_terminal))
    assert cont(none) != cont(batch) != cont(ended)


def test_doubling_the_batch_or_the_length_leaves_every_loss_unchanged(categorical):
    """Contract 15."""
    config, world_model, params = categorical
    batch = random_batch(SPEC)
    double = lambda axis: jax.tree.map(lambda x: np.concatenate([x, x], axis if x.ndim > 1 else 0), batch)
    twice = double(0)
    wide = twice.replace(prev_action=np.concatenate([batch.prev_action] * 2), row=np.concatenate([batch.row] * 2))
    loss = run_loss(config, world_model, params, batch)
    np.testing.assert_allclose(run_loss(config, world_model, params, wide)[0], loss[0], rtol=1e-5)
    # without weights every prediction is a constant, so a longer window repeats the same steps
    empty = jax.tree.map(np.zeros_like, params)
    long = double(1).replace(prev_action=batch.prev_action, row=batch.row)
    short, longer = (run_loss(config, world_model, empty, b)[1][2] for b in (batch, long))
    for name in short:
        if name.startswith("train/loss/"):
            np.testing.assert_allclose(longer[name], short[name], rtol=1e-5, err_msg=name)


ZERO = {"dyn": 0.0, "rep": 0.0, "rec": 0.0, "reward": 0.0, "cont": 0.0}


def test_gradient_routes_inside_the_world_model(tiny_config):
    """Contracts 10 and 20, as a table of exact zeros: dyn trains the prior and not the posterior, rep the reverse; under
    the free nats neither; each head is trained by its own loss; all but the KLs' prior leave the prior alone."""
    batch = random_batch(SPEC, length=1)  # one step: no path from a posterior sample to a later prior
    batch = batch.replace(is_terminal=np.ones((B, 1), bool))
    parts = {
        "encoder": lambda p: p["encoder"],
        "posterior": lambda p: p["rssm"]["post_out"],
        "transition": lambda p: p["rssm"]["cell"]["gates"],
        "prior": lambda p: p["rssm"]["prior_out"],
        "decoder": lambda p: p["decoder"],
        "mask": lambda p: p["mask_head"],
        "reward": lambda p: p["reward_head"],
        "cont": lambda p: p["cont_head"],
    }
    table = {
        ("dyn", 0.0): {"prior", "transition"},
        ("rep", 0.0): {"encoder", "posterior", "transition"},
        ("dyn", 1e3): set(),
        ("rep", 1e3): set(),
        ("rec", 0.0): {"encoder", "posterior", "transition", "decoder", "mask"},
        ("reward", 0.0): {"encoder", "posterior", "transition", "reward"},
        ("cont", 0.0): {"encoder", "posterior", "transition", "cont"},
    }
    world_model = networks.world_model(tiny_config, SPEC)
    params = random_params(world_model.init)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def gradients(params, scales):
        """Scales are inputs of one program for all rows."""
        config = SimpleNamespace(loss=dataclasses.replace(tiny_config.loss, **scales), model=tiny_config.model)
        return jax.grad(lambda p: loss_of(p, world_model, config, batch, jax.random.key(0))[0])(params)

    for row, expected in table.items():
        name, free = row
        grads = gradients(params, {**ZERO, name: 1.0, "free_nats": free})
        got = {name for name, part in parts.items() if any(np.any(x) for x in jax.tree.leaves(part(grads)))}
        assert got == expected, row


def test_what_leaves_the_loss_carries_no_gradient(categorical):
    """Contract 20: starts of imagination and priorities are stop-gradient."""
    config, world_model, params = categorical

    def leak(params):
        _, (post, by_step, _) = loss_of(params, world_model, config, random_batch(SPEC, length=2), jax.random.key(0))
        return sum(jnp.sum(x) for x in jax.tree.leaves((post, by_step)))

    assert not any(np.any(x) for x in jax.tree.leaves(jax.jit(jax.grad(leak))(params)))


def test_rows_draw_by_their_global_index(categorical):
    """Contract 28: row 2 of a batch draws what it draws alone under the same index, and else something else."""
    config, world_model, params = categorical
    batch = random_batch(SPEC)
    batch = jax.tree.map(lambda x: np.repeat(x[2:3], 2, 0), batch)
    stoch = lambda rows: run_loss(config, world_model, params, batch.replace(row=np.int32(rows)))[1][0].state.stoch
    np.testing.assert_array_equal(stoch([2, 9])[0], stoch([9, 2])[1])
    assert not np.array_equal(stoch([2, 9])[0], stoch([2, 9])[1])
    keys = jax.random.key_data(row_keys(jax.random.key(0), jnp.arange(8)))
    assert len(np.unique(keys, axis=0)) == 8
    assert isinstance(world_model.initial(1), RSSMState)
