"""Tree search in models whose every value is known: what it finds, what it never does, who shares keys."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.algorithms.actions import Policy, PolicyPart, make_policy
from dreamjax.algorithms.planning.candidates import NEVER, joint_actions
from dreamjax.algorithms.planning.model import PlanningModel
from dreamjax.algorithms.planning.tree import propose, tree_search
from dreamjax.config import ActorConfig, PlannerConfig
from dreamjax.types import ActionPart, ActionSpec
from tests.helpers.policies import keys_of
from tests.helpers.xla import QUICK

ROWS, ACTIONS, DEPTH, GAMMA = 64, 3, 3, 0.9
STATES = sum(ACTIONS**d for d in range(DEPTH + 1))
CELLS = ActionSpec((ActionPart("categorical", ACTIONS, masked=True),))
BUTTONS = ActionSpec((ActionPart("binary", 2),))
JOINT = joint_actions(CELLS)
# One tree for each row: node s leads by action a to node 3 s + 1 + a, and ends at the last level.
RNG = np.random.default_rng(0)
REWARD = RNG.random((ROWS, STATES)).astype(np.float32)
LEGAL = RNG.random((ROWS, STATES, ACTIONS)) < 0.8
LEGAL[..., 0] |= ~LEGAL.any(-1)
VALUE = np.zeros((ROWS, STATES), np.float32)  # of the actor, which takes any legal action
for node in reversed(range(STATES - ACTIONS**DEPTH)):
    children = slice(ACTIONS * node + 1, ACTIONS * node + 1 + ACTIONS)
    gains = LEGAL[:, node] * (REWARD[:, children] + GAMMA * VALUE[:, children])
    VALUE[:, node] = gains.sum(1) / LEGAL[:, node].sum(1)
# Scores that let every branch be seen: the usual ones keep to a branch that is good, and values here are of random play.
PLANNER = PlannerConfig(actions=0, max_num_considered_actions=3, value_scale=0.2, maxvisit_init=5.0)


def tree_model():
    """States are (row, node); an illegal action would pay 1000."""

    def step(state, action, keys):
        row, node = state
        chosen = jnp.argmax(action, -1)
        following = ACTIONS * node + 1 + chosen
        illegal = ~jnp.asarray(LEGAL)[row, node, chosen]
        reward = jnp.asarray(REWARD)[row, following] + 1000 * illegal
        last = following >= STATES - ACTIONS**DEPTH
        return (row, following), reward, jnp.where(last, 0.0, GAMMA)

    def policy_and_value(state):
        row, node = state
        mask = jnp.asarray(LEGAL)[row, jnp.minimum(node, STATES - 1)]
        policy = make_policy(CELLS, jnp.zeros((row.shape[0], ACTIONS)), mask, ActorConfig())
        return policy, jnp.asarray(VALUE)[row, jnp.minimum(node, STATES - 1)]

    return PlanningModel(step, policy_and_value)


def best(row, node=0, depth=0):
    """Exact values of a node's actions, illegal ones at -inf, by trying every sequence."""
    values = np.full(ACTIONS, -np.inf)
    for a in np.flatnonzero(LEGAL[row, node]):
        child = ACTIONS * node + 1 + a
        values[a] = REWARD[row, child] + (GAMMA * best(row, child, depth + 1).max() if depth + 1 < DEPTH else 0)
    return values


@functools.partial(jax.jit, static_argnames=("count", "noise"), compiler_options=QUICK)
def searched(rows, keys, *, count, noise=False):
    model, state = tree_model(), (rows, jnp.zeros_like(rows))
    policy, value = model.policy_and_value(state)
    split = jax.vmap(jax.random.split)(keys)
    candidates = propose(policy, JOINT, 0, split[:, 0], with_noise=noise)
    config = dataclasses.replace(PLANNER, num_simulations=count)
    found = tree_search(model, CELLS, state, candidates, value, split[:, 1], config)
    return found, candidates.record[:, :, 0]


def chosen_of(found, record):
    return np.take_along_axis(np.asarray(record), np.asarray(found.chosen)[:, None], 1)[:, 0]


def test_it_finds_the_best_action_and_more_simulations_are_no_worse():
    exact = np.stack([best(row) for row in range(ROWS)])
    values = []
    for count in (8, 32, 128):
        found, record = searched(jnp.arange(ROWS), keys_of(ROWS), count=count)
        values.append(exact[np.arange(ROWS), chosen_of(found, record)].mean())
        np.testing.assert_array_equal(found.visits.sum(1), count)
    assert np.all(np.diff(values) >= 0), values
    second, first = np.sort(exact, 1)[:, -2:].T
    clear = first - second > 0.1  # values are means over what was tried, not the greatest
    assert clear.sum() > ROWS / 2
    np.testing.assert_array_equal(chosen_of(found, record)[clear], exact.argmax(1)[clear])
    assert values[-1] > first.mean() - 0.002 > values[0]


@pytest.mark.parametrize("noise", [False, True])
def test_masks_hold_in_every_simulated_step(noise):
    """What an illegal action would pay is far above all else, and every simulated step is backed up to the root."""
    found, record = searched(jnp.arange(ROWS), keys_of(ROWS), count=32, noise=noise)
    assert found.value.max() < DEPTH and found.q.max() < DEPTH
    legal = np.take_along_axis(LEGAL[:, 0], np.asarray(record), 1)
    assert not np.any(np.asarray(found.visits)[~legal]) and not np.any(np.asarray(found.weight)[~legal])
    np.testing.assert_allclose(found.weight.sum(1), 1, rtol=1e-5)
    assert LEGAL[np.arange(ROWS), 0, chosen_of(found, record)].all()


def test_a_rows_tree_is_its_own():
    rows, keys = jnp.arange(ROWS), keys_of(ROWS)
    one = searched(rows, keys, count=32, noise=True)
    turned = jax.random.wrap_key_data(jax.random.key_data(keys_of(ROWS))[::-1])
    there = searched(rows[::-1], turned, count=32, noise=True)
    chex.assert_trees_all_equal(one, jax.tree.map(lambda x: x[::-1], there))


def test_siblings_share_their_keys_and_no_other_nodes_do():
    """Each step pays a uniform number; two steps deep, at most."""

    def step(state, action, keys):
        return state, jax.vmap(jax.random.uniform)(keys), jnp.ones(action.shape[0])

    def policy_and_value(state):
        return make_policy(CELLS, jnp.zeros((2, ACTIONS)), None, ActorConfig()), jnp.zeros(2)

    state = jnp.zeros((2, 1))
    policy, value = policy_and_value(state)
    candidates = propose(policy, JOINT, 0, keys_of(2), with_noise=False)

    @functools.partial(jax.jit, static_argnums=0, compiler_options=QUICK)
    def run(depth):
        config = PlannerConfig(actions=0, max_num_considered_actions=3, depth=depth, num_simulations=12)
        return tree_search(PlanningModel(step, policy_and_value), CELLS, state, candidates, value, keys_of(2), config).q

    shallow = run(1)
    np.testing.assert_array_equal(shallow, np.broadcast_to(shallow[:, :1], shallow.shape))
    assert shallow[0, 0] != shallow[1, 0]
    deep = run(2) - shallow
    assert len(np.unique(np.round(deep, 5))) == 6, "a child's randomness is neither its parent's nor its sibling's"


def test_the_prior_of_listed_actions_is_renormalized():
    probs = jnp.array([[0.5, 0.3, 0.2], [0.0, 0.25, 0.75]])
    candidates = propose(Policy(CELLS, (PolicyPart(probs),)), JOINT, 2, keys_of(2), with_noise=False)
    np.testing.assert_array_equal(candidates.record[:, :, 0], [[0, 1], [2, 1]])
    np.testing.assert_allclose(np.exp(candidates.log_prior), [[0.625, 0.375], [0.75, 0.25]], rtol=1e-5)
    whole = propose(Policy(CELLS, (PolicyPart(probs),)), JOINT, 0, keys_of(2), with_noise=False)
    np.testing.assert_allclose(np.exp(whole.log_prior), [[0.5, 0.3, 0.2], [0.75, 0.25, 0.0]], rtol=1e-5)
    np.testing.assert_array_equal(whole.legal[1], [True, True, False])


def test_no_draw_is_credited_twice():
    """Draws ``11 01 11 11 00 01`` of two buttons are three children with 3/6, 2/6 and 1/6."""

    class Fixed(Policy):
        draws = iter([[1, 1], [0, 1], [1, 1], [1, 1], [0, 0], [0, 1]])

        def sample(self, keys):
            return jnp.array([next(self.draws)], jnp.float32)

    candidates = propose(Fixed(BUTTONS, (PolicyPart(jnp.array([[0.9, 0.4]])),)), None, 6, keys_of(1), with_noise=False)
    np.testing.assert_array_equal(candidates.legal, [[True, True, False, False, True, False]])
    np.testing.assert_allclose(np.exp(candidates.log_prior), [[3 / 6, 2 / 6, 0, 0, 1 / 6, 0]], rtol=1e-5)


def test_the_sampled_prior_is_the_policy_on_average():
    count = 2000
    policy = Policy(BUTTONS, (PolicyPart(jnp.broadcast_to(jnp.array([0.9, 0.4]), (count, 2))),))
    draw = jax.jit(lambda keys: propose(policy, None, 5, keys, with_noise=True), compiler_options=QUICK)
    candidates = draw(keys_of(count))
    index = np.asarray(candidates.record) @ [1, 2]
    prior = np.where(candidates.legal, np.exp(candidates.log_prior), 0)
    for a, p in enumerate([0.1 * 0.6, 0.9 * 0.6, 0.1 * 0.4, 0.9 * 0.4]):
        mass = np.sum(prior * (index == a), 1)
        assert abs(mass.mean() - p) < 4 * np.sqrt(p * (1 - p) / count / 5), (a, mass.mean(), p)
        assert np.all(np.sum(np.asarray(candidates.legal) * (index == a), 1) <= 1)
    assert np.all(np.asarray(candidates.log_prior)[~np.asarray(candidates.legal)] < NEVER / 2)
    assert len(np.unique(candidates.noise)) > 0.99 * count * 5


def test_the_root_is_drawn_from_the_policy_without_values():
    """With Gumbel noise and equal values, the action taken is a sample of the prior."""
    count = 3000
    probs = jnp.broadcast_to(jnp.array([0.6, 0.3, 0.1]), (count, 3))
    policy = Policy(CELLS, (PolicyPart(probs),))
    model = PlanningModel(
        lambda state, action, keys: (state, jnp.zeros(count), jnp.ones(count)), lambda state: (policy, jnp.zeros(count))
    )

    @functools.partial(jax.jit, compiler_options=QUICK)
    def run(keys, others):
        candidates = propose(policy, JOINT, 0, keys, with_noise=True)
        config = dataclasses.replace(PLANNER, num_simulations=3)
        nothing = jnp.zeros((count, 1)), candidates, jnp.zeros(count)
        return tree_search(model, CELLS, *nothing, others, config), candidates

    found, candidates = run(keys_of(count), keys_of(count, 1))
    share = np.bincount(chosen_of(found, candidates.record[:, :, 0]), minlength=3) / count
    assert np.all(np.abs(share - [0.6, 0.3, 0.1]) < 4 * np.sqrt(0.25 / count)), share
