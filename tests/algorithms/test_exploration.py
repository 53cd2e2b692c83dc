"""Exploration by disagreement: the loss and the bonus against NumPy, who learns from it, and that it finds the unknown."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dreamjax.algorithms import exploration
from dreamjax.algorithms.normalization import init_normalizer, update_normalizer
from dreamjax.config import ConfigError, EnsembleConfig
from dreamjax.models.ensemble import Ensemble
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, Imagination, ObsSpec, RSSMState
from tests.helpers import networks
from tests.helpers.configs import vary
from tests.helpers.xla import QUICK

SPEC = EnvSpec({"x": ObsSpec("vector", (2,), "float32")}, ActionSpec((ActionPart("categorical", 4),)))


def linear_ensemble():
    """Members ``[feat, action] @ w[k]``; the target is the next ``stoch``, flat."""
    return Ensemble(
        init=lambda key, size: None,
        apply=lambda w, feat, action: jnp.einsum("...i,kio->k...o", jnp.concatenate([feat, action], -1), w),
        target=lambda state, following: jax.lax.stop_gradient(following.stoch[..., 0]),
    )


def windows(seed=0):
    rng = np.random.default_rng(seed)
    state = RSSMState(deter=rng.normal(size=(2, 4, 3)), stoch=rng.normal(size=(2, 4, 2, 1)))
    is_first = np.zeros((2, 4), bool)
    is_first[0, 0] = is_first[1, 2] = True
    values = dict(feat=rng.normal(size=(2, 4, 5)), action=rng.normal(size=(2, 4, 4)), is_first=is_first, state=state)
    return jax.tree.map(lambda x: x.astype(np.float32) if x.dtype != bool else x, values)


def test_bootstrap_weights_are_each_members_own_and_go_by_global_row():
    """Exponential with mean 1; two devices that share the rows draw what one draws."""
    key, rows = jax.random.key(3), jnp.arange(2000)
    whole = np.asarray(exploration.bootstrap_weights(key, rows, 3))
    halves = [exploration.bootstrap_weights(key, part, 3) for part in (rows[:1000], rows[1000:])]
    np.testing.assert_array_equal(whole, np.concatenate(halves, 1))
    assert whole.shape == (3, 2000)
    np.testing.assert_allclose(whole.mean(1), 1, atol=0.1)
    np.testing.assert_allclose(whole.std(1), 1, atol=0.15)
    assert np.all(np.abs(np.corrcoef(whole) - np.eye(3)) < 0.08)


def test_the_loss_against_numpy():
    """Predictions of the next state, steps across resets left out, members weighted by window."""
    x, rng = windows(), np.random.default_rng(1)
    w, weight = rng.normal(size=(3, 9, 2)).astype(np.float32), rng.exponential(size=(3, 2)).astype(np.float32)
    expected = 0.0
    for k in range(3):
        for b in range(2):
            for t in range(3):
                if x["is_first"][b, t + 1]:
                    continue
                prediction = np.concatenate([x["feat"][b, t], x["action"][b, t]]) @ w[k]
                error = np.sum((prediction - x["state"].stoch[b, t + 1, :, 0]) ** 2)
                expected += weight[k, b] * error / (3 * 2 * 3)
    loss = exploration.ensemble_loss(w, linear_ensemble(), **x, weight=weight)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_the_loss_teaches_the_ensemble_alone():
    """Contract 20: none of its gradient reaches features, states (the world model) or actions."""
    x, w = windows(), np.ones((3, 9, 2), np.float32)

    def loss(w, feat, action, state):
        weight = jnp.ones((3, 2))
        return exploration.ensemble_loss(w, linear_ensemble(), feat, action, state, x["is_first"], weight)

    own, *others = jax.grad(loss, (0, 1, 2, 3))(w, x["feat"], x["action"], x["state"])
    assert np.all(np.any(own != 0, (1, 2)))
    assert all(np.all(grad == 0) for grad in jax.tree.leaves(others))


def test_disagreement_by_hand():
    predictions = jnp.asarray([[[1.0, 0.0]], [[3.0, 0.0]], [[5.0, 3.0]]])  # K=3, one place, D=2
    np.testing.assert_allclose(exploration.disagreement(predictions), [(8 / 3 + 2) / 2], rtol=1e-6)
    assert exploration.disagreement(jnp.ones((4, 2, 3))).tolist() == [0, 0]


def rollouts(reward):
    n, h = reward.shape[0], reward.shape[1] - 1
    rng = np.random.default_rng(2)
    return Imagination(
        feat=rng.normal(size=(n, h + 1, 5)).astype(np.float32),
        action=rng.normal(size=(n, h, 4)).astype(np.float32),
        log_prob=np.zeros((n, h), np.float32),
        mask=None,
        reward=reward,
        cont=np.ones((n, h + 1), np.float32),
        row=np.arange(n, dtype=np.int32),
    )


def test_the_bonus_of_an_action_comes_on_arriving():
    """reward[t+1] = extrinsic r[t+1] + bonus d[t] / range, d[t] of (feat[t], action[t]); the range unbiased at once."""
    rng = np.random.default_rng(0)
    reward, w = rng.normal(size=(6, 4)).astype(np.float32), rng.normal(size=(3, 9, 2)).astype(np.float32)
    x = rollouts(reward)
    d = np.zeros((6, 3))
    for n in range(6):
        for t in range(3):
            d[n, t] = np.var(np.concatenate([x.feat[n, t], x.action[n, t]]) @ w, axis=0).mean()
    disagreed = exploration.imagined_disagreement(linear_ensemble(), w, x)
    np.testing.assert_allclose(disagreed, d, rtol=1e-4)
    state = update_normalizer(init_normalizer(), disagreed, rate=0.1)
    scale = exploration.disagreement_scale(state, rate=0.1)
    got = exploration.mixed_reward(reward, disagreed, scale, intrinsic=0.5, extrinsic=0.25)
    span = np.percentile(d, 95) - np.percentile(d, 5)
    expected = 0.25 * reward
    expected[:, 1:] += 0.5 * d / span
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    np.testing.assert_allclose(scale, span, rtol=1e-4)
    np.testing.assert_allclose(state.high - state.low, 0.1 * span, rtol=1e-4)


def test_two_devices_learn_and_reward_as_one():
    """Contract 28: from shares of one batch, gradients averaged, percentiles of all."""
    x, w = windows(), np.random.default_rng(1).normal(size=(3, 9, 2)).astype(np.float32)
    dreams = rollouts(np.random.default_rng(3).normal(size=(6, 4)).astype(np.float32))
    ensemble = linear_ensemble()

    def step(x, row, dreams, axis_name=None):
        weight = exploration.bootstrap_weights(jax.random.key(5), row, 3)
        grads = jax.grad(exploration.ensemble_loss)(w, ensemble, **x, weight=weight)
        disagreed = exploration.imagined_disagreement(ensemble, w, dreams)
        state = update_normalizer(init_normalizer(), disagreed, rate=0.01, axis_name=axis_name)
        scale = exploration.disagreement_scale(state, rate=0.01)
        reward = exploration.mixed_reward(dreams.reward, disagreed, scale, intrinsic=0.5, extrinsic=1.0)
        return jax.lax.pmean(grads, axis_name) if axis_name else grads, state, reward

    one = jax.jit(step, compiler_options=QUICK)(x, jnp.arange(2), dreams)
    shares = jax.tree.map(lambda y: y.reshape(2, y.shape[0] // 2, *y.shape[1:]), (x, np.arange(2), dreams))
    several = jax.vmap(functools.partial(step, axis_name="device"), axis_name="device")
    grads, state, reward = jax.jit(several, compiler_options=QUICK)(*shares)
    for device in range(2):
        shared = jax.tree.map(lambda x: x[device], (grads, state))  # noqa: B023
        chex.assert_trees_all_close(shared, one[:2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(reward.reshape(6, 4), one[2], rtol=1e-5)


def test_replayed_steps_are_disagreed_on_but_not_across_resets():
    x, w = windows(), np.random.default_rng(1).normal(size=(3, 9, 2)).astype(np.float32)
    got = exploration.replayed_disagreement(linear_ensemble(), w, x["feat"], x["action"], x["is_first"])
    pairs = np.concatenate([x["feat"], x["action"]], -1)
    expected = np.stack([pairs @ w[k] for k in range(3)]).var(0).mean(-1)[:, :-1]
    expected[1, 1] = 0  # window 1 is reset at step 2
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    about = lambda feat: jnp.sum(
        exploration.replayed_disagreement(linear_ensemble(), w, feat, x["action"], x["is_first"])
    )
    assert np.all(jax.grad(about)(x["feat"]) == 0)


def test_disagreement_of_a_state_is_that_of_its_features():
    """What a planner asks: no gradient to the state, the action or the parameters."""
    world_model = SimpleNamespace(feat=lambda state: jnp.concatenate([state.deter, state.stoch[..., 0]], -1))
    w = np.random.default_rng(1).normal(size=(3, 9, 2)).astype(np.float32)
    state, action = windows()["state"], windows()["action"]
    about = functools.partial(exploration.state_disagreement, world_model, linear_ensemble())
    got = about({"ensemble": w}, state, action)
    inputs = np.concatenate([state.deter, state.stoch[..., 0], action], -1)
    np.testing.assert_allclose(got, np.stack([inputs @ w[k] for k in range(3)]).var(0).mean(-1), rtol=1e-4)
    grads = jax.grad(lambda *args: jnp.sum(about(*args)), (0, 1, 2))({"ensemble": w}, state, action)
    assert all(np.all(grad == 0) for grad in jax.tree.leaves(grads))


def test_members_that_begin_alike_part_ways():
    """They see different batches: the same parameters get different gradients, by their own weights of the windows."""
    x, weight = windows(), exploration.bootstrap_weights(jax.random.key(0), jnp.arange(2), 3)
    w = np.repeat(np.random.default_rng(1).normal(size=(1, 9, 2)), 3, 0).astype(np.float32)
    grads = jax.grad(exploration.ensemble_loss)(w, linear_ensemble(), **x, weight=weight)
    for left, right in ((0, 1), (1, 2), (0, 2)):
        assert np.abs(grads[left] - grads[right]).max() > 0.01 * np.abs(grads).max()
    equal = jax.grad(exploration.ensemble_loss)(w, linear_ensemble(), **x, weight=jnp.ones((3, 2)))
    np.testing.assert_array_equal(equal[0], equal[1])


def test_disagreement_falls_where_data_is_and_ranks_by_how_much_there_was(tiny_config):
    """A world of 16 states, in which four actions permute 4 latents of 4 classes. Trained on 600, 60, 6 and 0 windows
    of each action, the ensemble disagrees in that order; of its first disagreement it keeps under 2 % on the action seen
    most, and over ten times that share on the one never seen."""
    config = vary(tiny_config, ensemble={"size": 5, "units": 32, "layers": 1})
    ensemble = networks.ensemble(config, SPEC)
    rng = np.random.default_rng(0)
    turns = np.stack([rng.permutation(16) for _ in range(4)])
    counts = [600, 60, 6, 0]

    def batch(size):
        chosen = rng.choice(4, size, p=np.array(counts) / sum(counts))
        feat = np.eye(16, dtype=np.float32)[rng.integers(0, 16, size)]
        following = np.take_along_axis(feat, turns[chosen], 1)
        states = np.stack([feat, following], 1).reshape(size, 2, 4, 4)
        return feat, np.eye(4, dtype=np.float32)[chosen], states

    optimizer = optax.adam(1e-2)

    def step(carry, inputs):
        params, opt_state = carry
        t, feat, action, stoch = inputs
        pair = lambda x: jnp.stack([x, x], 1)
        weight = exploration.bootstrap_weights(jax.random.fold_in(jax.random.key(1), t), jnp.arange(len(feat)), 5)
        loss, grads = jax.value_and_grad(exploration.ensemble_loss)(
            params,
            ensemble,
            pair(feat),
            pair(action),
            RSSMState(pair(feat), stoch),
            jnp.zeros((len(feat), 2), bool),
            weight,
        )
        changes, opt_state = optimizer.update(grads, opt_state)
        return (optax.apply_updates(params, changes), opt_state), loss

    data = jax.tree.map(lambda *x: np.stack(x), *[batch(32) for _ in range(200)])
    before = jax.jit(lambda key: ensemble.init(key, 16), compiler_options=QUICK)(jax.random.key(0))
    train = lambda params: jax.lax.scan(step, (params, optimizer.init(params)), (jnp.arange(200), *data))
    (after, _), losses = jax.jit(train, compiler_options=QUICK)(before)
    assert losses[-20:].mean() < 0.2 * losses[0]

    feat = np.eye(16, dtype=np.float32)
    about = lambda params, a: float(
        exploration.disagreement(ensemble.apply(params, feat, np.eye(4, dtype=np.float32)[[a] * 16])).mean()
    )
    first, last = ([about(params, a) for a in range(4)] for params in (before, after))
    assert np.all(np.diff(last) > 0), last  # rank correlation with the counts: -1
    assert last[0] < 0.02 * first[0]
    assert last[3] / first[3] > 10 * last[0] / first[0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 1}, "size=1 is not allowed: must be 0"),
        ({"size": 2, "rate": 0.0}, "rate=0.0 is not allowed"),
    ],
)
def test_impossible_ensembles_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        EnsembleConfig(**fields)
