"""Transition, prior and posterior: both cells against NumPy, who reads what, unimix in both."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.models import rssm
from dreamjax.types import RSSMState
from tests.helpers.parameters import random_params

ACTION, TOKENS = 3, 5


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def dense(params, x):
    return x @ params["dense"]["kernel"] + params["dense"]["bias"]


def norm_act(params, x):
    """RMS norm, then SiLU."""
    x = x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-4) * params["RMSNorm_0"]["scale"]
    return x * sigmoid(x)


def layer(params, x):
    return norm_act(params["NormAct_0"], dense(params["Dense_0"], x))


def make_cell(cell, config, seed=0):
    rng = np.random.default_rng(seed)
    deter, stoch, action = (rng.normal(size=(2, n)).astype(np.float32) for n in (config.deter, 6, ACTION))
    module = cell(config, jnp.float32)
    params = random_params(module.init, deter, stoch, action)
    return module, params["params"], (deter, stoch, action)


def gated(deter, reset, candidate, update):
    """The update gate is biased by -1 towards keeping; the reset gate multiplies the candidate."""
    update = sigmoid(update - 1)
    return update * np.tanh(sigmoid(reset) * candidate) + (1 - update) * deter


def test_block_gru_against_numpy(tiny_config):
    config = tiny_config.model
    module, params, (deter, stoch, action) = make_cell(rssm.BlockGRU, config)
    joint = np.concatenate(
        [layer(params[f"in_{name}"], x) for name, x in (("deter", deter), ("stoch", stoch), ("action", action))], -1
    )
    size = config.deter // config.blocks
    hidden = []
    for g in range(config.blocks):
        block = np.concatenate([deter[:, g * size : (g + 1) * size], joint], -1)
        hidden.append(block @ params["hidden"]["kernel"][g] + params["hidden"]["bias"][g])
    hidden = norm_act(params["hidden_norm"], np.concatenate(hidden, -1))
    expected = []
    for g in range(config.blocks):
        own = slice(g * size, (g + 1) * size)
        gates = hidden[:, own] @ params["gates"]["kernel"][g] + params["gates"]["bias"][g]
        expected.append(gated(deter[:, own], *np.split(gates, 3, -1)))
    got = jax.jit(module.apply)({"params": params}, deter, stoch, action)
    np.testing.assert_allclose(got, np.concatenate(expected, -1), rtol=1e-4, atol=1e-5)


def test_dense_gru_against_numpy(tiny_config):
    module, params, (deter, stoch, action) = make_cell(rssm.DenseGRU, tiny_config.model)
    x = layer(params["in"], np.concatenate([stoch, action], -1))
    gates = dense(params["gates"], np.concatenate([x, deter], -1))
    got = jax.jit(module.apply)({"params": params}, deter, stoch, action)
    np.testing.assert_allclose(got, gated(deter, *np.split(gates, 3, -1)), rtol=1e-4, atol=1e-5)


class Both(rssm.RSSM):
    """Everything in one call, for initialization."""

    def __call__(self, state, action, tokens):
        deter = self.transition(state, action)
        return deter, self.prior_logit(deter), self.post_logit(deter, self.embed(tokens))


def make_rssm(config, latent, **changes):
    config = dataclasses.replace(config.model, latent=latent, **changes)
    rng = np.random.default_rng(1)
    classes = config.classes if latent == "categorical" else 1
    state = RSSMState(
        deter=rng.normal(size=(2, config.deter)).astype(np.float32),
        stoch=rng.normal(size=(2, config.stoch, classes)).astype(np.float32),
    )
    action = rng.normal(size=(2, ACTION)).astype(np.float32)
    tokens = rng.normal(size=(2, TOKENS)).astype(np.float32)
    module = Both(config, TOKENS, jnp.float32)
    return module, random_params(module.init, state, action, tokens), (state, action, tokens)


@pytest.mark.parametrize("latent", ["categorical", "gaussian"])
def test_who_reads_what(tiny_config, latent):
    """Contract 7: one step's deter and prior read the state and the action before, the posterior the observation."""
    module, params, inputs = make_rssm(tiny_config, latent)

    def outputs(inputs):
        sums = [jnp.sum(jnp.square(x)) for x in module.apply(params, *inputs)]
        return jnp.stack(sums)

    jacobian = jax.jit(jax.jacrev(outputs))(inputs)
    state, action, tokens = jacobian

    def reads(x):
        return [bool(np.any(x[i] != 0)) for i in range(3)]

    table = {"deter": reads(state.deter), "stoch": reads(state.stoch), "action": reads(action), "tokens": reads(tokens)}
    everything, posterior_only = [True, True, True], [False, False, True]
    assert table == {"deter": everything, "stoch": everything, "action": everything, "tokens": posterior_only}


def test_unimix_is_in_prior_and_posterior(tiny_config):
    """Contract 11: with huge outputs the least probability is 0.01 / K in both."""
    module, params, inputs = make_rssm(tiny_config, "categorical", unimix=0.01)
    params = jax.tree.map(lambda x: 100 * x, params)
    _, prior, post = jax.jit(module.apply)(params, *inputs)
    for logit in (prior, post):
        assert logit.shape == (2, tiny_config.model.stoch, tiny_config.model.classes)
        np.testing.assert_allclose(np.exp(logit).sum(-1), 1, rtol=1e-5)
        np.testing.assert_allclose(np.min(np.exp(logit)), 0.01 / tiny_config.model.classes, rtol=1e-3)


def test_gaussian_prior_and_posterior_are_bounded_below(tiny_config):
    """Contract 16."""
    module, params, inputs = make_rssm(tiny_config, "gaussian", min_std=0.25)
    params = jax.tree.map(lambda x: 100 * x, params)
    _, prior, post = jax.jit(module.apply)(params, *inputs)
    for logit in (prior, post):
        assert logit.shape == (2, tiny_config.model.stoch, 2)
        np.testing.assert_allclose(np.min(logit[..., 1]), 0.25, rtol=1e-3)


def test_large_actions_are_scaled_to_one_without_gradient(tiny_config):
    """``a / sg(max(1, |a|))``: 5 acts like 1, 0.5 like itself."""
    module, params, (state, _, _) = make_rssm(tiny_config, "categorical")

    def deter(action):
        return module.apply(params, state, action, method="transition")

    def both(action):
        value, pull = jax.vjp(deter, action)
        return value, pull(jnp.ones_like(value))[0]

    small_action = jnp.array([[1.0, -1.0, 0.5]] * 2)
    value, gradient = jax.jit(both)(small_action)
    large_value, large_gradient = jax.jit(both)(small_action * jnp.array([[5.0, 5.0, 1.0]] * 2))
    np.testing.assert_allclose(large_value, value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(large_gradient, gradient / np.array([[5, 5, 1]] * 2), rtol=1e-3, atol=1e-6)
