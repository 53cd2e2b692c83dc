"""The explorer's phase of an update: dreams of its own, paid for disagreement, and who learns from them."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from dreamjax.algorithms.actions import action_vector
from dreamjax.algorithms.exploration import explorer_params
from dreamjax.algorithms.update.behavior import imagine_from, last_steps
from dreamjax.algorithms.update.explorer import explorer_phase
from dreamjax.algorithms.update.state import explorer_behavior
from dreamjax.algorithms.world_model_loss import Posterior, world_model_loss
from dreamjax.config import ConfigError
from tests.algorithms.test_update import assert_close, share, with_heads
from tests.helpers.configs import vary
from tests.helpers.fingerprints import fingerprints
from tests.helpers.plain_update import cross_entropy, decode, lambda_return
from tests.helpers.xla import QUICK

EXPLORING = ("world_model", "actor_critic", "explorer")


def calm(x):
    """A state in the middle of training whose critics say nearly nothing, so that rewards are what counts."""
    state = x.state()
    own = with_heads(state.replace(params=explorer_params(state.params)), 3.0).params["critic"]
    state = with_heads(state, 3.0)
    explorer = state.explorer.replace(slow_critic=jax.tree.map(lambda leaf: 0.5 * leaf, own))
    return state.replace(params={**state.params, "explorer_critic": own}, explorer=explorer)


def test_the_explorers_phase_against_numpy(learner):
    """Its dreams are those of its own actor; rewards, in dreams and in replay, are 0.25 of the task's and 0.5 of the
    disagreement about the action before, in units of its moving range; its slow critic and scale are its own."""
    x = learner("exploring")
    before = calm(x)
    after, metrics, _ = x.update_exploring(before, x.batch)
    config, networks, batch = x.config, x.networks, x.batch
    last, length, gamma = config.imagination.last, batch.reward.shape[1], config.loss.gamma

    @functools.partial(jax.jit, compiler_options=QUICK)
    def dreamt(state):
        key = jax.random.fold_in(state.key, state.step)
        model_key = jax.random.split(key, 3)[0]
        _, _, (post, _, _) = world_model_loss(
            state.params["world_model"], networks.world_model, x.spec, config.loss, batch, model_key,
            symlog=config.model.symlog,
        )  # fmt: skip
        rows = batch.row[:, None] * length + np.arange(length, dtype=np.int32)[None]
        start, rows = last_steps((post.state, rows), last)
        mask = last_steps(batch.obs["action_mask"] > 0, last)
        alive = 1.0 - last_steps(batch.is_terminal, last)
        params = explorer_params(state.params)
        dream = imagine_from(
            x.learner, params["world_model"], params["actor"], start, rows, mask, alive, jax.random.fold_in(key, 7)
        ).rollouts
        feat = networks.world_model.feat(post.state)
        action = action_vector(x.spec.action, batch.action)
        members = networks.ensemble.apply(params["ensemble"], dream.feat[:, :-1], dream.action)
        replayed = networks.ensemble.apply(params["ensemble"], feat[:, :-1], action[:, :-1])
        values = networks.critic.apply(params["critic"], dream.feat)
        heads = networks.critic.apply(params["critic"], feat), networks.critic.apply(state.explorer.slow_critic, feat)
        return dream, members, replayed, values, heads

    dream, members, replayed, values, heads = jax.tree.map(np.asarray, dreamt(before))
    d, rate = members.var(0).mean(-1), config.ensemble.rate
    low = (1 - rate) * 0.01 + rate * np.percentile(d, 5)
    high = (1 - rate) * 0.02 + rate * np.percentile(d, 95)
    novelty = after.explorer.novelty
    np.testing.assert_allclose([novelty.low, novelty.high, novelty.count], [low, high, 3], rtol=1e-3)
    scale = (high - low) / (1 - (1 - rate) ** 3)
    reward = 0.25 * dream.reward
    reward[:, 1:] += 0.5 * d / scale
    np.testing.assert_allclose(metrics["explorer/reward"], reward[:, 1:].sum(1).mean(), rtol=1e-3)
    np.testing.assert_allclose(metrics["explorer/disagreement"], d.mean(), rtol=1e-3)
    returns = lambda_return(
        reward, dream.cont, decode(np.float64(values)), gamma, config.loss.lam, np.zeros_like(dream.cont, bool)
    )
    np.testing.assert_allclose(metrics["explorer/return"], returns[:, 0].mean(), rtol=2e-3)
    rate = config.loss.return_norm_rate
    np.testing.assert_allclose(
        after.explorer.retnorm.high, (1 - rate) * 0.03 + rate * np.percentile(returns, 95), rtol=2e-3
    )

    about = np.where(batch.is_first[:, 1:], 0, replayed.var(0).mean(-1))
    paid = 0.25 * batch.reward
    paid[:, 1:] += 0.5 * about / scale
    tail = lambda y: y[:, length - last :]
    targets = lambda_return(
        tail(paid),
        1 - tail(batch.is_terminal),
        returns[:, 0].reshape(-1, last),
        gamma,
        config.loss.lam,
        tail(batch.is_last),
    )
    fast, slow = (np.float64(tail(y))[:, :-1] for y in heads)
    live = 1 - tail(batch.is_last)[:, :-1]
    expected = np.mean(live * (cross_entropy(fast, targets) + cross_entropy(fast, decode(slow))))
    np.testing.assert_allclose(metrics["explorer/loss/critic_replay"], expected, rtol=2e-3)


def test_the_unit_of_disagreement_is_that_of_all_devices(learner):
    """Contract 28: two devices that share the windows move the percentiles as one does."""
    x = learner("exploring")
    state, key = x.state(), jax.random.key(1)
    shape, rng = x.batch.reward.shape, np.random.default_rng(0)
    initial = x.networks.world_model.initial(1)
    states = jax.tree.map(lambda s: rng.normal(size=(*shape, *s.shape[1:])).astype(s.dtype), initial)
    windows = x.batch, Posterior(states, None)

    def percentiles(state, batch, post, axis_name=None):
        return explorer_phase(x.learner, state, batch, post, key, axis_name=axis_name).explorer.novelty

    one = jax.jit(percentiles, compiler_options=QUICK)(state, *windows)
    on_both = jax.vmap(functools.partial(percentiles, axis_name="device"), (None, 0, 0), axis_name="device")
    two = jax.jit(on_both, compiler_options=QUICK)(state, *share(windows, 2))
    for device in range(2):
        assert_close(jax.tree.map(lambda leaf: leaf[device], two), one)  # noqa: B023


def test_the_explorer_touches_nothing_but_its_own(learner):
    """Contract 20. Everything else comes from the very operations that make it in an update without the explorer; its own
    parameters move, and its slow critic follows its critic."""
    x = learner("exploring")
    before = x.state()
    own = {"explorer_actor", "explorer_critic"}
    with_it, without = (
        fingerprints(fn, before, x.batch)
        for fn in (functools.partial(x.agent.update, phases=EXPLORING), x.agent.update)
    )
    assert all("explorer" in path for path in set(with_it) - set(without))
    differ = {path for path in without if with_it[path] != without[path]}
    assert differ and all("explorer" in path for path in differ)

    after = x.update_exploring(before, x.batch)[0]
    equal = lambda a, b: all(np.array_equal(p, q) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    assert {name for name in before.params if not equal(before.params[name], after.params[name])} == set(before.params)
    assert own < set(before.params)
    rate = x.config.critic.slow_rate
    slow = jax.tree.map(
        lambda s, c: (1 - rate) * s + rate * c, before.explorer.slow_critic, after.params["explorer_critic"]
    )
    assert_close(after.explorer.slow_critic, slow, rtol=1e-5)


def test_the_explorer_learns_with_its_own_critics_and_scale(learner):
    state = learner("exploring").state()
    marked = state.replace(explorer=state.explorer.replace(slow_critic="its slow critic", retnorm="its scale"))
    own = explorer_behavior(marked)
    assert (own.slow_critic, own.retnorm) == ("its slow critic", "its scale")
    assert own.critic is state.params["explorer_critic"]
    assert own.actor is state.params["explorer_actor"]


def test_the_explorers_parameters_stand_in_the_place_of_the_tasks():
    params = {"world_model": 1, "actor": 2, "critic": 3, "explorer_actor": 4, "explorer_critic": 5}
    got = explorer_params(params)
    assert (got["world_model"], got["actor"], got["critic"]) == (1, 4, 5)
    assert params["actor"] == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"explore": {"steps": 10}}, "explore.steps=10 is not allowed: needs an ensemble"),
        (
            {"explore": {"steps": 10}, "ensemble": {"size": 2}, "offline": {"replay": "x"}},
            "explore.steps=10 is not allowed: must be 0 with offline.replay",
        ),
        ({"explore": {"intrinsic": 0.0}}, "explore.intrinsic=0.0 is not allowed: must be above 0 where extrinsic=0"),
    ],
)
def test_impossible_explorers_are_refused(tiny_config, fields, message):
    with pytest.raises(ConfigError, match=message):
        vary(tiny_config, **fields)
