"""A world model's steps on the fast path against its plain steps, one at a time."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.models.fast.steps import imagine_step, observe_steps
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec
from tests.helpers import networks
from tests.helpers.configs import make_tiny_config
from tests.helpers.parameters import random_params
from tests.helpers.xla import QUICK

B, T = 3, 3
BOARD = ObsSpec("grid", (2, 6, 5), "uint8", classes=2)
SPECS = {
    "rssm": EnvSpec({"vector": ObsSpec("vector", (7,), "float32")}, ActionSpec((ActionPart("categorical", 4),))),
    "grid": EnvSpec({"board": BOARD}, ActionSpec((ActionPart("binary", 3),))),
}
MODELS = {"rssm": {"posterior_layers": 2}, "grid": {"kind": "grid", "stoch": 2, "classes": 2}}
jit = functools.partial(jax.jit, compiler_options=QUICK)


def keys_at(t):
    return jax.vmap(jax.random.fold_in, (0, None))(jax.random.split(jax.random.key(0), B), t)


@functools.cache
def case(name):
    """A world model, its parameters, and a window with a reset in it."""
    spec = SPECS[name]
    model = networks.world_model(make_tiny_config(model=MODELS[name]), spec)
    params, rng = random_params(model.init), np.random.default_rng(1)
    obs = {n: rng.integers(0, 2, (B, T, *entry.shape)).astype(np.float32) for n, entry in spec.obs.items()}
    embed = jit(model.embed)(params, obs)
    start = jax.tree.map(lambda x: rng.integers(0, 2, x.shape).astype(x.dtype), model.initial(B))
    action = rng.integers(0, 2, (B, T, spec.action.vector_size)).astype(np.float32)
    is_first = np.zeros((B, T), bool)
    is_first[1, 1] = True
    return model, params, (start, embed, action, is_first)


@pytest.mark.parametrize("name", MODELS)
def test_observed_steps_and_gradients_are_those_of_plain_steps(name):
    model, params, window = case(name)

    def plain(params, start, embed, action, is_first):
        state, posts = start, []
        for t in range(T):
            state, logit = model.observe(params, state, action[:, t], embed[:, t], is_first[:, t], keys_at(t))
            posts.append((state, logit))
        return jax.tree.map(lambda *x: jnp.stack(x, 1), *posts)

    def fast(params, *window):
        return observe_steps(model, params, *window, keys_at)

    def both(steps):
        def total(params):
            posts = steps(params, *window)
            return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(posts)), posts

        return jit(jax.grad(total, has_aux=True))(params)

    for a, b in zip(jax.tree.leaves(both(fast)), jax.tree.leaves(both(plain)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("name", MODELS)
def test_an_imagined_step_is_the_plain_one(name):
    model, params, (start, _, action, _) = case(name)
    fast = jit(lambda params: imagine_step(model, params)(start, action[:, 0], keys_at(0)))(params)
    plain = jit(lambda params: model.imagine(params, start, action[:, 0], keys_at(0)))(params)
    chex.assert_trees_all_close(fast, plain, rtol=1e-4, atol=1e-5)


def test_shared_rows_are_those_made_before_the_scan():
    """Changed ones change a step; those of other layers are made in it."""
    model, params, (start, _, action, _) = case("rssm")
    shared = model.fast.share(params)
    assert list(shared) == [("rssm", "cell", "hidden")]

    @jit
    def deter(params, shared):
        with model.fast.use(shared, None):
            return model.imagine(params, start, action[:, 0], keys_at(0))[0].deter

    before, after = deter(params, shared), deter(params, jax.tree.map(lambda x: 2 * x, shared))
    assert not np.allclose(before, after)


def test_a_plain_world_model_takes_plain_steps():
    model, params, (start, _, action, _) = case("rssm")
    slow = model._replace(fast=None)
    one = jit(lambda params: imagine_step(slow, params)(start, action[:, 0], keys_at(0))[0].deter)(params)
    two = jit(lambda params: model.imagine(params, start, action[:, 0], keys_at(0))[0].deter)(params)
    np.testing.assert_array_equal(one, two)
