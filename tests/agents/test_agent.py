"""The acting agent: the same filtering as in training, greedy and sampled actions, masks; and its dreams."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.agents.acting import Carry
from dreamjax.agents.agent import dummy_batch, make_agent
from dreamjax.algorithms.actions import action_record, make_policy
from dreamjax.config import ConfigError
from dreamjax.models.encoders import preprocess
from dreamjax.models.nets import symexp
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec
from tests.helpers import networks
from tests.helpers.batches import make_tiny_spec, random_batch
from tests.helpers.configs import make_tiny_config, vary
from tests.helpers.parameters import noise_like
from tests.helpers.xla import QUICK

pytestmark = pytest.mark.usefixtures("no_key_twice")

N, T = 5, 6
SPEC = EnvSpec(
    obs={
        "action_mask": ObsSpec("mask", (3,), "int8"),
        "image": ObsSpec("image", (4, 4, 1), "uint8"),
        "vector": ObsSpec("vector", (5,), "float32"),
    },
    action=ActionSpec((ActionPart("categorical", 3, masked=True), ActionPart("binary", 2))),
)


@pytest.fixture(scope="module")
def acting(tiny_config):
    agent = make_agent(tiny_config, SPEC)
    shapes = jax.eval_shape(agent.init, jax.random.key(0))
    params = noise_like(shapes.params)
    policy = jax.jit(agent.policy, static_argnames="greedy", compiler_options=QUICK)
    return agent, params, policy


def situation(agent, seed=0):
    rng = np.random.default_rng(seed)
    carry = agent.initial_carry(N)
    state = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), carry.state)
    batch = random_batch(SPEC, batch=N, length=1, seed=seed)
    obs = {name: x[:, 0] for name, x in batch.obs.items()}
    return Carry(state, rng.integers(0, 2, carry.action.shape).astype(np.float32)), obs


def keys(num=N, seed=0):
    return jax.random.split(jax.random.key(seed), num)


@pytest.mark.parametrize("greedy", [True, False])
def test_acting_filters_as_training_does(acting, tiny_config, greedy):
    """Contract 4: one preprocessing, one embedding, one observe step; the action is the policy's at the new state,
    under the real mask; what is carried is the new state and the action just chosen."""
    agent, params, policy = acting
    carry, obs = situation(agent)
    is_first = np.array([False, True, False, False, False])
    after, record, latents = policy(params, carry, obs, is_first, keys(), greedy=greedy)

    @jax.jit
    def expected(params, carry, keys):
        wm, split = agent.world_model, jax.vmap(jax.random.split)(keys)
        model = params["world_model"]
        embed = wm.embed(model, preprocess(SPEC.obs, obs))
        state, _ = wm.observe(model, carry.state, carry.action, embed, jnp.array(is_first), split[:, 0])
        raw = networks.actor(tiny_config, SPEC).apply(params["actor"], wm.feat(state))
        chosen = make_policy(SPEC.action, raw, jnp.asarray(obs["action_mask"]) > 0, tiny_config.actor)
        action = chosen.mode() if greedy else chosen.sample(split[:, 1])
        return state, action, action_record(SPEC.action, action)

    state, action, expected_record = expected(params, carry, keys())
    chex.assert_trees_all_close(after.state, state, rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_equal(after.state, latents)
    np.testing.assert_array_equal(after.action, action)
    np.testing.assert_array_equal(record, expected_record)
    assert record.shape == (N, 3)
    assert record.dtype == jnp.dtype(SPEC.action.record_dtype)


def test_only_legal_actions_are_taken(acting):
    """Contract 24."""
    agent, params, policy = acting
    carry, obs = situation(agent)
    for only in range(3):
        obs["action_mask"] = np.broadcast_to(np.eye(3, dtype=np.int8)[only], (N, 3))
        for greedy in (True, False):
            _, record, _ = policy(params, carry, obs, np.zeros(N, bool), keys(), greedy=greedy)
            np.testing.assert_array_equal(record[:, 0], only)


def test_a_first_row_forgets_the_carry(acting):
    """Contract 7."""
    agent, params, policy = acting
    carry, obs = situation(agent)
    first = np.arange(N) == 2
    remembered, _, _ = policy(params, carry, obs, first, keys(), greedy=True)
    fresh, _, _ = policy(params, agent.initial_carry(N), obs, first, keys(), greedy=True)
    np.testing.assert_array_equal(remembered.state.deter[2], fresh.state.deter[2])
    assert np.all(np.any(np.delete(remembered.state.deter != fresh.state.deter, 2, 0), -1))


def test_rows_are_strangers(acting):
    """Contract 28: an environment's action does not depend on its place among the others."""
    agent, params, policy = acting
    carry, obs = situation(agent)
    order = np.array([3, 1, 4, 0, 2])
    straight = policy(params, carry, obs, np.zeros(N, bool), keys(), greedy=False)
    pick = lambda tree: jax.tree.map(lambda x: x[order], tree)
    shuffled = policy(params, pick(carry), pick(obs), np.zeros(N, bool), keys()[order], greedy=False)
    chex.assert_trees_all_close(pick(straight), shuffled, rtol=1e-4, atol=1e-5)


def test_open_loop_dreams_see_the_context_alone(acting):
    """Contract 9: reconstructions up to the context, after it the prior fed with the recorded actions; "next" predicts
    step t + 1 from the state and the action at t."""
    agent, params, _ = acting
    context = 3
    batch = random_batch(SPEC, batch=4, length=T)
    dream = jax.jit(agent.open_loop, static_argnames="context", compiler_options=QUICK)

    def run(batch):
        out = dream(params, batch, jax.random.key(0), context=context)
        return np.asarray(out["dream"]["vector"]), np.asarray(out["next"]["vector"]), out

    def touched(left, right):
        """Steps at which some row differs."""
        return np.any(left != right, (0, 2)).nonzero()[0].tolist()

    plain, following, out = run(batch)
    assert plain.shape == (4, T, 5)
    assert following.shape == (4, T - 1, 5)
    np.testing.assert_array_equal(out["real"]["vector"], batch.obs["vector"])
    assert out["dream"]["image"].dtype == jnp.uint8
    assert set(out["dream"]) == {"image", "vector"}

    def with_obs(step):
        vector = batch.obs["vector"].copy()
        vector[:, step] += 3
        return run(batch.replace(obs={**batch.obs, "vector": vector}))

    seen, seen_next, _ = with_obs(context - 1)
    assert touched(plain, seen) == [2, 3, 4, 5]
    assert touched(following, seen_next)[0] == context - 1, "step t's own state predicts step t + 1"
    assert touched(plain, with_obs(context)[0]) == [], "the dream saw what it was to predict"

    def with_action(step):
        action = batch.action.copy()
        action[..., 0][:, step] = (action[..., 0][:, step] + 1) % 3
        return run(batch.replace(action=action))

    for step in (context - 1, context):
        acted, acted_next, _ = with_action(step)
        assert touched(plain, acted) == list(range(step + 1, T))
        assert touched(following, acted_next)[0] == step
    assert touched(plain, with_action(T - 1)[0]) == []
    # rows 1 and 2 begin new episodes at steps 3 and 4
    valid = np.ones((4, T), bool)
    valid[1, 3:] = valid[2, 4:] = False
    np.testing.assert_array_equal(out["valid"], valid)


def test_binary_bias_must_fit_the_bits(tiny_config):
    with pytest.raises(ConfigError, match=r"actor\.binary_bias.*number 2"):
        make_agent(vary(tiny_config, actor={"binary_bias": (1.0,)}), SPEC)


def test_dummy_batches_fit_the_update(tiny_config):
    agent = make_agent(tiny_config, SPEC)
    batch = dummy_batch(SPEC, 4, T)
    real = random_batch(SPEC, batch=4, length=T)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), batch) == jax.tree.map(lambda x: (x.shape, x.dtype), real)
    state = jax.eval_shape(agent.init, jax.random.key(0))
    after, _, outs = jax.eval_shape(agent.update, state, batch)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert outs.priority.shape == (4, T)


@pytest.mark.parametrize("kind", ["rssm", "grid"])
def test_a_fresh_state_has_no_weak_types(kind):
    """A weakly typed parameter becomes strong in the first update, and everything is then compiled a second time."""
    config = make_tiny_config(model={"kind": kind}, imagination={"use_ring": True})
    state = jax.eval_shape(make_agent(config, make_tiny_spec()).init, jax.random.key(0))
    assert [jax.tree_util.keystr(path) for path, x in jax.tree.leaves_with_path(state) if x.weak_type] == []


# Planning one step ahead.


def test_greedy_planning_by_one_step_takes_the_best_legal_action(tiny_config):
    """By brute force: every legal action, imagined from the filtered state with the row's own key."""
    planner = {"method": "one_step", "actions": 0}
    config = vary(tiny_config, planner=planner, model={"reward_head": "mse"}, critic={"head": "mse"})
    agent = make_agent(config, SPEC)
    params = noise_like(jax.eval_shape(agent.init, jax.random.key(0)).params)
    carry, obs = situation(agent)
    is_first = np.zeros(N, bool)
    joint = np.array([[*np.eye(3)[i], j, k] for i in range(3) for j in (0, 1) for k in (0, 1)], np.float32)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def both(params, *keys):
        acted = [agent.planner_policy(params, carry, obs, is_first, keys[i], greedy=i == 0) for i in (0, 1)]
        state, wm = acted[0][2], agent.world_model
        shared = jax.vmap(lambda key: jax.random.split(jax.random.split(key)[1], 3)[1])(keys[2])

        def value(action):
            following, _ = wm.imagine(params["world_model"], state, jnp.tile(action[None], (N, 1)), shared)
            feat = wm.feat(following)
            ends = jax.nn.sigmoid(wm.cont(params["world_model"], feat)) / config.loss.gamma
            reward = wm.reward(params["world_model"], feat)[..., 0]
            worth = networks.critic(config, SPEC).apply(params["critic"], feat)[..., 0]
            return symexp(reward) + config.loss.gamma * jnp.minimum(ends, 1) * symexp(worth)

        return acted, jax.vmap(value, out_axes=1)(joint)

    (best, drawn), q = both(params, keys(), keys(), keys())
    legal = obs["action_mask"][:, np.argmax(joint[:, :3], 1)] > 0
    assert not legal.all() and np.any(np.argmax(q, 1) != np.argmax(np.where(legal, q, -np.inf), 1))
    np.testing.assert_array_equal(best[0].action, joint[np.argmax(np.where(legal, q, -np.inf), 1)])
    np.testing.assert_array_equal(best[1], action_record(SPEC.action, best[0].action))
    chosen = np.argmax(drawn[0].action[:, :3], 1)
    assert np.all(obs["action_mask"][np.arange(N), chosen] > 0)
