"""The agent that plans: which action it takes by each method, what it refuses, and the plan it carries."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.agents.acting import Carry, make_acting
from dreamjax.agents.agent import make_agent
from dreamjax.agents.planning import make_decision
from dreamjax.config import ConfigError
from dreamjax.models.heads import Head
from dreamjax.types import ActionPart, ActionSpec, EnvSpec
from tests.helpers.batches import EVERY_ACTION
from tests.helpers.configs import make_tiny_config, vary
from tests.helpers.parameters import random_params
from tests.helpers.places import NO_PARAMS, REAL_LEGAL, SPEC, networks_of, place_model, unsure_networks, weights_of
from tests.helpers.xla import QUICK


def act(config, *, greedy=True, count=2, seed=0, networks=None, params=NO_PARAMS, disagreement=None):
    networks = networks or networks_of(place_model())
    policy = make_acting(networks, SPEC, config.actor, make_decision(networks, config, SPEC))
    carry = Carry(networks.world_model.initial(count), jnp.zeros((count, 3)))
    obs = {"vector": np.zeros((count, 1), np.float32), "action_mask": np.repeat(REAL_LEGAL, count, 0)}
    run = jax.jit(functools.partial(policy, greedy=greedy), compiler_options=QUICK)
    keys = jax.random.split(jax.random.key(seed), count)
    return run(params, carry, obs, np.ones(count, bool), keys, disagreement=disagreement)


@pytest.mark.parametrize("method", ["gumbel", "cem"])
def test_it_sees_what_one_step_does_not(method):
    """Class 2 pays 1 at once and class 1 pays 3 a step later; the masks of truth and model hide the rest."""
    planner = dict(
        method=method, num_simulations=16, max_num_considered_actions=3, horizon=2, candidates=24, iterations=2
    )
    after, record, state = act(make_tiny_config(planner=planner))
    np.testing.assert_array_equal(record, [[1], [1]])
    np.testing.assert_array_equal(after.action, [[0, 1, 0]] * 2)
    np.testing.assert_array_equal(state.deter, after.state.deter)


def test_draws_are_legal_and_differ():
    planner = dict(num_simulations=2, max_num_considered_actions=2, value_scale=0.0)
    record = act(make_tiny_config(planner=planner), greedy=False, count=64)[1]
    assert set(np.unique(record)) == {1, 2}


@pytest.mark.parametrize("method", ["gumbel", "cem"])
@pytest.mark.parametrize(("intrinsic", "chosen"), [(0.0, 1), (-6.0, 2)])
def test_planners_are_rewarded_for_disagreement(method, intrinsic, chosen):
    """What class 1 leads to pays 3, unless the disagreement about it, half a unit, costs 6 times as much."""
    planner = dict(
        method=method, num_simulations=16, max_num_considered_actions=3, horizon=2, candidates=24, iterations=2
    )
    weights = weights_of(intrinsic, 1.0)
    params = {**NO_PARAMS, "ensemble": {}}
    record = act(make_tiny_config(planner=planner), networks=unsure_networks(), params=params, disagreement=weights)[1]
    np.testing.assert_array_equal(record, [[chosen]] * 2)


def test_one_step_sees_what_pays_at_once():
    """Class 2 pays 1 on arriving; the critic values every place alike. An explorer prefers what is disagreed on."""
    planner = dict(method="one_step", actions=0)
    np.testing.assert_array_equal(act(make_tiny_config(planner=planner))[1], [[2], [2]])
    explore = dict(networks=unsure_networks(), params={**NO_PARAMS, "ensemble": {}}, disagreement=weights_of(1.0, 0.0))
    np.testing.assert_array_equal(act(make_tiny_config(planner=planner), **explore)[1], [[1], [1]])


def test_one_step_is_refused_where_actions_cannot_be_listed(tiny_config):
    config = vary(tiny_config, planner={"method": "one_step"})
    buttons = EnvSpec(SPEC.obs, ActionSpec((ActionPart("binary", 13),)))
    with pytest.raises(ConfigError, match=r"^planner\.method='one_step' is not allowed: .* continuous; .* is allowed"):
        make_agent(config, EVERY_ACTION)
    with pytest.raises(ConfigError, match=r"^planner\.method='one_step' is not allowed: .* more than 4096"):
        make_agent(config, buttons)


def test_all_of_too_many_actions_are_refused(tiny_config):
    spec = EnvSpec(SPEC.obs, ActionSpec((ActionPart("binary", 13),)))
    with pytest.raises(ConfigError, match=r"planner\.actions=0"):
        make_agent(vary(tiny_config, planner={"actions": 0}), spec)
    make_agent(vary(tiny_config, planner={"actions": 8}), spec)


def test_sequences_of_classes_that_may_become_illegal_are_refused(tiny_config):
    with pytest.raises(ConfigError, match=r"planner\.method='piecewise' is not allowed"):
        make_agent(vary(tiny_config, planner={"method": "piecewise"}), SPEC)


def test_a_plan_is_carried_until_the_episode_ends(tiny_config, tiny_spec):
    """Where all returns are equal the previous plan stays, moved on by one step. A reset forgets it; the actor keeps it."""
    config = vary(tiny_config, planner=dict(method="piecewise", horizon=3, candidates=8))
    agent = make_agent(config, tiny_spec)
    networks = agent.networks
    zero = networks.world_model._replace(reward=lambda params, feat: jnp.zeros((*feat.shape[:-1], 1)))
    critic = Head(networks.critic.init, lambda params, feat: jnp.zeros((*feat.shape[:-1], 1)))
    networks = networks._replace(world_model=zero, critic=critic)
    policy = make_acting(networks, tiny_spec, config.actor, make_decision(networks, config, tiny_spec))
    size = networks.world_model.feat_size
    params = {"world_model": random_params(networks.world_model.init), "critic": {}}
    params["actor"] = random_params(lambda key: networks.actor.init(key, size))
    begun = agent.initial_carry(3)
    assert begun.plan.shape == (3, 3, 3)
    plan = jnp.arange(27.0).reshape(3, 3, 3) % 2
    obs = {name: np.zeros((3, *entry.shape), entry.dtype) for name, entry in tiny_spec.obs.items()}
    first = np.array([False, True, False])
    run = jax.jit(functools.partial(policy, greedy=True), compiler_options=QUICK)
    after, record, _ = run(params, begun.replace(plan=plan), obs, first, jax.random.split(jax.random.key(0), 3))
    np.testing.assert_array_equal(after.plan[0::2, :2], plan[0::2, 1:])
    np.testing.assert_array_equal(after.plan[1], 0)
    np.testing.assert_array_equal(record, after.plan[:, 0])
    kept, _, _ = agent.policy(params, after, obs, first, jax.random.split(jax.random.key(0), 3), greedy=True)
    np.testing.assert_array_equal(kept.plan[0], after.plan[0])
