"""The world model's bundle of functions: resets, shapes, precision, size, outputs that begin at zero."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax import config as config_lib
from dreamjax.algorithms.distributions import scalar_decode
from dreamjax.config import presets
from dreamjax.models.rssm import reset_where
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec, RSSMState
from tests.helpers import networks
from tests.helpers.batches import EVERY_ACTION, random_batch
from tests.helpers.configs import vary
from tests.helpers.parameters import random_params

SPEC = EVERY_ACTION
CASES = [("categorical", "block_gru"), ("gaussian", "gru")]


def inputs(world_model, batch=3):
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), world_model.initial(batch))
    action = rng.normal(size=(batch, SPEC.action.vector_size)).astype(np.float32)
    return state, action


@pytest.mark.parametrize(("latent", "cell"), CASES)
def test_observe_masks_state_and_action_of_reset_rows_alone(tiny_config, latent, cell):
    """Contracts 7 and 8: a reset row forgets everything before, the others are bitwise as without the reset."""
    world_model = networks.world_model(vary(tiny_config, model={"latent": latent, "cell": cell}), SPEC)
    params = random_params(world_model.init)
    state, action = inputs(world_model)
    embed = np.random.default_rng(1).normal(size=(3, tiny_config.model.hidden)).astype(np.float32)
    keys = lambda: jax.random.split(jax.random.key(0), 3)
    observe = jax.jit(world_model.observe)
    plain = observe(params, state, action, embed, np.zeros(3, bool), keys())
    reset = observe(params, state, action, embed, np.array([False, True, False]), keys())
    empty = observe(params, world_model.initial(3), np.zeros_like(action), embed, np.zeros(3, bool), keys())
    for a, b, c in zip(*map(jax.tree.leaves, (plain, reset, empty)), strict=True):
        np.testing.assert_array_equal(a[::2], b[::2])
        np.testing.assert_array_equal(b[1], c[1])
    assert not np.array_equal(plain[0].deter[1], reset[0].deter[1])


def test_reset_where():
    """Contract 8."""
    state = RSSMState(deter=jnp.ones((3, 2)), stoch=jnp.ones((3, 2, 4)))
    cleared, action = reset_where(jnp.array([True, False, True]), state, jnp.full((3, 5), 7.0))
    np.testing.assert_array_equal(cleared.deter, [[0, 0], [1, 1], [0, 0]])
    np.testing.assert_array_equal(cleared.stoch.sum((1, 2)), [0, 8, 0])
    np.testing.assert_array_equal(action.sum(-1), [0, 35, 0])


@pytest.mark.parametrize(("latent", "cell"), CASES)
def test_a_row_does_not_read_the_other_rows(tiny_config, latent, cell):
    """Contract 28: rows carry their own keys, so a batch may be cut anywhere."""
    world_model = networks.world_model(vary(tiny_config, model={"latent": latent, "cell": cell}), SPEC)
    params = random_params(world_model.init)
    state, action = inputs(world_model, 4)
    imagine = jax.jit(world_model.imagine)
    whole = imagine(params, state, action, jax.random.split(jax.random.key(0), 4))
    half = jax.tree.map(lambda x: x[2:], (state, action, jax.random.split(jax.random.key(0), 4)))
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[2:], whole), imagine(params, *half), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("latent", "cell"), CASES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_shapes_and_precision(tiny_config, latent, cell, precision):
    """States in the compute dtype; logits and predictions in float32; parameters always in float32."""
    config = vary(tiny_config, model={"latent": latent, "cell": cell}, parallel={"precision": precision})
    wm, model = networks.world_model(config, SPEC), config.model
    params = jax.eval_shape(wm.init, jax.random.key(0))
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    batch = random_batch(SPEC, batch=2, length=3)
    state, action = inputs(wm, 2)
    categorical = latent == "categorical"
    keys = jax.random.split(jax.random.key(0), 2)
    logit = (2, model.stoch, model.classes if categorical else 2)
    for step in (
        lambda p: wm.imagine(p, state, action, keys),
        lambda p: wm.observe(p, state, action, wm.embed(p, batch.obs)[:, 0], jnp.zeros(2, bool), keys),
    ):
        after, out = jax.eval_shape(step, params)
        assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
        assert (out.shape, out.dtype) == (logit, jnp.float32)
    feat = jnp.zeros((2, 3, wm.feat_size), jnp.dtype(precision))
    assert jax.eval_shape(wm.feat, state).shape == (2, wm.feat_size)
    predictions = jax.eval_shape(lambda p: [wm.reward(p, feat), wm.cont(p, feat), wm.mask(p, feat)], params)
    assert [x.shape for x in predictions] == [(2, 3, model.bins), (2, 3), (2, 3, 3)]
    assert {x.dtype for x in predictions} == {jnp.dtype("float32")}
    assert set(jax.eval_shape(lambda p: wm.decode(p, feat), params)) == {"vector"}, "the mask has a head of its own"


def test_feat_joins_deter_and_flat_stoch(tiny_config):
    world_model = networks.world_model(tiny_config, SPEC)
    state, _ = inputs(world_model)
    expected = np.concatenate([state.deter, state.stoch.reshape(3, -1)], -1)
    np.testing.assert_array_equal(world_model.feat(state), expected)


@pytest.mark.parametrize("head", ["twohot", "mse"])
def test_reward_begins_at_exactly_zero(tiny_config, head):
    """Contract 14: random two-hot outputs would predict rewards of e^20."""
    world_model = networks.world_model(vary(tiny_config, model={"reward_head": head}), SPEC)
    feat = np.random.default_rng(0).normal(size=(5, world_model.feat_size)).astype(np.float32)
    reward = jax.jit(lambda key: scalar_decode(world_model.reward(world_model.init(key), feat)))(jax.random.key(0))
    assert reward.shape == (5,)
    assert np.all(reward == 0)


def test_no_mask_head_without_masks(tiny_config, tiny_spec):
    assert networks.world_model(tiny_config, tiny_spec).mask is None


def test_size_1m_has_the_references_number_of_parameters():
    """A vector of 200 and 8 actions at DreamerV3's size 1m: 663,439 parameters in the reference."""
    spec = EnvSpec({"v": ObsSpec("vector", (200,), "float32")}, ActionSpec((ActionPart("categorical", 8),)))
    config = config_lib.from_dict(presets.size("1m"))
    world_model = networks.world_model(config, spec)
    key = jax.random.key(0)
    trees = [jax.eval_shape(world_model.init, key)] + [
        jax.eval_shape(lambda key, head=head: head.init(key, world_model.feat_size), key)
        for head in (networks.actor(config, spec), networks.critic(config, spec))
    ]
    assert sum(x.size for x in jax.tree.leaves(trees)) == 663_439


@pytest.mark.parametrize("kind", ["vector", "image", "grid"])
def test_entries_whose_names_meet_have_parameters_of_their_own(tiny_config, kind):
    entry = {
        "vector": ObsSpec("vector", (2,), "float32"), "image": ObsSpec("image", (8, 8, 1), "uint8"),
        "grid": ObsSpec("grid", (1, 4, 4), "uint8", classes=2),
    }[kind]  # fmt: skip
    spec = EnvSpec({"a/b": entry, "a_b": entry, "c/d": entry}, SPEC.action)
    world_model = networks.world_model(tiny_config, spec)
    params = jax.eval_shape(world_model.init, jax.random.key(0))
    prefix = "image" if kind == "image" else "out"
    names = {name for name in params["decoder"] if name.startswith(prefix)}
    assert names == {f"{prefix}_{name}" for name in ("a_b", "a_b_2", "c_d")}  # c_d as in older checkpoints
    feat = jnp.zeros((1, world_model.feat_size))
    assert set(jax.eval_shape(world_model.decode, params, feat)) == {"a/b", "a_b", "c/d"}
