"""The fast update is the plain one: values and gradients within rounding."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dreamjax.algorithms.actions import make_policy
from dreamjax.algorithms.distributions import scalar_loss
from dreamjax.models.rssm import BlockGRU
from tests.helpers import plain_update
from tests.helpers.parameters import random_params
from tests.helpers.xla import QUICK


@pytest.fixture(scope="module")
def updated(learner):
    """One update, by the learner and plainly."""
    x = learner("plain")
    state = x.state()
    return x, state, x.update(state, x.batch), plain_update.update_losses(x.config, state, x.batch)


def test_an_update_has_the_losses_of_the_plain_one(updated):
    """Contracts 3, 15, 17, 18, 19, 23, 24, 25: losses, everything else that is logged of them, posteriors, priorities and
    the scale of returns, on one batch."""
    _, state, (after, metrics, outs), plain = updated
    grad_norms = {name for name in metrics if name.startswith("train/grad_norm/")}
    assert set(metrics) - grad_norms == set(plain.metrics)
    for name, value in plain.metrics.items():
        # Two-hot targets of large returns lie on wide bins, where float32 rounds.
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(outs.latents.deter, plain.deter, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outs.priority, plain.priority, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose([after.retnorm.low, after.retnorm.high], [plain.low, plain.high], rtol=1e-4)
    assert int(after.retnorm.count) == int(state.retnorm.count) + 1


def test_gradients_of_actor_and_critic_have_the_norms_of_the_plain_losses(updated):
    """Of losses in which all but the outputs of the network that learns is constant, computed plainly."""
    x, state, (_, metrics, _), plain = updated
    known, feat = plain.learned_from, np.float32(np.stack(plain.dream.feats[:-1], 1))
    action, mask = np.stack(plain.dream.actions, 1), np.stack(plain.dream.masks[:-1], 1)
    slow = lambda feat: plain_update.decode(plain_update.mlp(jax.tree.map(np.float64, state.slow_critic), feat))
    slow_dreamt, slow_recent = slow(feat), slow(known.recent)

    def actor_loss(params):
        policy = make_policy(x.spec.action, x.networks.actor.apply(params, feat), mask, x.config.actor)
        gain = policy.log_prob(np.float32(action)) * known.advantage + x.config.actor.entropy * policy.entropy()
        return -jnp.mean(known.weight * gain)

    def critic_loss(params):
        both = lambda outputs, *targets: sum(scalar_loss(outputs, jnp.float32(target)) for target in targets)
        dreamt = both(x.networks.critic.apply(params, feat), known.returns, slow_dreamt)
        replayed = both(x.networks.critic.apply(params, np.float32(known.recent)), known.targets, slow_recent)
        return jnp.mean(known.weight * dreamt) + x.config.critic.replay_scale * jnp.mean(known.live * replayed)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def norms(actor, critic):
        return optax.tree.norm(jax.grad(actor_loss)(actor)), optax.tree.norm(jax.grad(critic_loss)(critic))

    expected = norms(state.params["actor"], state.params["critic"])
    found = [metrics[f"train/grad_norm/{name}"] for name in ("actor", "critic")]
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_the_block_gru_and_its_gradients_are_the_plain_ones(tiny_config):
    config = tiny_config.model
    rng = np.random.default_rng(0)
    deter, stoch, action = (rng.normal(size=(6, n)).astype(np.float32) for n in (config.deter, 8, 3))
    module = BlockGRU(config, jnp.float32)
    params = random_params(module.init, deter, stoch, action)["params"]
    weights = rng.normal(size=deter.shape).astype(np.float32)

    def fast(params, *inputs):
        return jnp.sum(jnp.square(module.apply({"params": params}, *inputs)) * weights)

    def plain(params, *inputs):
        return jnp.sum(jnp.square(plain_update.block_gru(config, params, *inputs)) * weights)

    results = [jax.jit(jax.value_and_grad(fn, (0, 1, 2, 3)))(params, deter, stoch, action) for fn in (fast, plain)]
    chex.assert_trees_all_close(*results, rtol=1e-4, atol=1e-5)
    assert all(np.any(x != 0) for x in jax.tree.leaves(results[0]))
