"""Shooting: sequences against trying them all, refits by hand, masks and the actor's share."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.algorithms.actions import Policy, PolicyPart
from dreamjax.algorithms.planning.model import PlanningModel
from dreamjax.algorithms.planning.shooting import MIN_STD, masked, plan_cem, refit, rollout, uninformed
from dreamjax.config import PlannerConfig
from dreamjax.types import ActionPart, ActionSpec
from tests.helpers.policies import keys_of
from tests.helpers.xla import QUICK

ROWS, HORIZON, GAMMA = 16, 3, 0.9
BUTTONS = ActionSpec((ActionPart("binary", 2),))
NUMBERS = ActionSpec((ActionPart("continuous", 2),))
MIXED = ActionSpec((ActionPart("categorical", 3, masked=True), ActionPart("binary", 1), ActionPart("continuous", 1)))
# What a press pays depends on the press before it; the value of the end on the last.
PAYS = np.random.default_rng(0).random((ROWS, HORIZON, 4, 4)).astype(np.float32)
WORTH = 2 * np.random.default_rng(1).random((ROWS, 4)).astype(np.float32)


def buttons_model(probs=(0.5, 0.5)):
    """States are (row, step, last press)."""

    def step(state, action, keys):
        row, t, last = state
        press = (action @ jnp.array([1.0, 2.0])).astype(jnp.int32)
        paid = jnp.asarray(PAYS)[row, jnp.minimum(t, HORIZON - 1), last, press]
        return (row, t + 1, press), paid, jnp.full(row.shape, GAMMA)

    def policy_and_value(state):
        policy = Policy(BUTTONS, (PolicyPart(jnp.broadcast_to(jnp.array(probs), (state[0].shape[0], 2))),))
        return policy, jnp.asarray(WORTH)[state[0], state[2]]

    return PlanningModel(step, policy_and_value)


def best_first(row):
    """The first press of the best of all 64 sequences, and how much worse the best with another first press is."""
    found = {}
    for presses in itertools.product(range(4), repeat=HORIZON):
        total, last = 0.0, 0
        for t, press in enumerate(presses):
            total, last = total + GAMMA**t * PAYS[row, t, last, press], press
        total += GAMMA**HORIZON * WORTH[row, last]
        found[presses[0]] = max(found.get(presses[0], -1), total)
    first = max(found, key=found.get)
    return first, found[first] - max(value for press, value in found.items() if press != first)


def test_the_first_press_of_the_best_sequence():
    config = PlannerConfig(method="cem", horizon=HORIZON, candidates=96, iterations=6, elites=8, policy_share=0.0)
    model, rows = buttons_model(), jnp.arange(ROWS)
    state = (rows, 0 * rows, 0 * rows)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def run(keys):
        return plan_cem(model, state, model.policy_and_value(state)[0], keys, config, greedy=True)

    press = np.asarray(run(keys_of(ROWS))) @ [1, 2]
    exact, gap = map(np.array, zip(*map(best_first, range(ROWS)), strict=True))
    np.testing.assert_array_equal(press, exact)
    assert np.sum(gap > 0.15) > 5 and len(set(exact)) > 2


def test_numbers_come_close_to_the_best():
    target = jnp.array([[0.5, -0.3], [-0.8, 0.1]])

    def step(state, action, keys):
        # Noise that all sequences share does not matter.
        noise = 10 * jax.vmap(jax.random.normal)(keys)
        return state, noise - jnp.sum(jnp.square(action - state), -1), jnp.ones(action.shape[0])

    def policy_and_value(state):
        part = PolicyPart(mean=jnp.zeros_like(state), std=jnp.ones_like(state))
        return Policy(NUMBERS, (part,)), jnp.zeros(state.shape[0])

    config = PlannerConfig(method="cem", horizon=2, candidates=128, iterations=8, policy_share=0.1)
    policy, _ = policy_and_value(target)
    action = jax.jit(
        lambda keys: plan_cem(PlanningModel(step, policy_and_value), target, policy, keys, config, greedy=True),
        compiler_options=QUICK,
    )(keys_of(2))
    np.testing.assert_allclose(action, target, atol=0.12)


def test_a_sequences_return_by_hand():
    """The actor always presses the first button: ``r0 + g r1 + g^2 r2 + g^3 value``."""
    model, rows = buttons_model((1.0, 0.0)), jnp.arange(ROWS)
    state = (rows, 0 * rows, 0 * rows)
    shots, first = uninformed(BUTTONS, ROWS, HORIZON), model.policy_and_value(state)[0]
    run = jax.jit(lambda shared_keys, keys: rollout(model, state, shots, shared_keys, keys, rows >= 0, first))
    actions, returns = run(keys_of(ROWS), keys_of(ROWS, 1))
    np.testing.assert_array_equal(actions, np.broadcast_to([1, 0], (ROWS, HORIZON, 2)))
    expected = PAYS[:, 0, 0, 1] + GAMMA * PAYS[:, 1, 1, 1] + GAMMA**2 * PAYS[:, 2, 1, 1] + GAMMA**3 * WORTH[:, 1]
    np.testing.assert_allclose(returns, expected, rtol=1e-5)


def test_refits_by_hand():
    actions = jnp.array([[[[1, 0, 0, 1, 0.5]], [[0, 1, 0, 1, -0.5]], [[0, 1, 0, 0, 0.1]]]])
    fit = refit(MIXED, actions, jnp.array([[0.5, 0.25, 0.25]]))
    np.testing.assert_allclose(fit.parts[0].probs, [[[0.5, 0.5, 0]]])
    np.testing.assert_allclose(fit.parts[1].probs, [[[0.75]]])
    mean = 0.25 - 0.125 + 0.025
    variance = 0.5 * (0.5 - mean) ** 2 + 0.25 * (-0.5 - mean) ** 2 + 0.25 * (0.1 - mean) ** 2
    np.testing.assert_allclose(fit.parts[2].mean, [[[mean]]], rtol=1e-6)
    np.testing.assert_allclose(fit.parts[2].std, [[[variance**0.5]]], rtol=1e-6)
    narrow = refit(MIXED, actions[:, :1], jnp.ones((1, 1))).parts[2].std
    np.testing.assert_allclose(narrow, MIN_STD)


def mixed_policy(probs, press=0.0, mean=0.0):
    ones = jnp.ones((len(probs), 1))
    rest = PolicyPart(probs=press * ones), PolicyPart(mean=mean * ones, std=0.01 * ones)
    return Policy(MIXED, (PolicyPart(probs=jnp.array(probs)), *rest))


def test_what_is_illegal_is_left_out():
    shot = mixed_policy([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    left = masked(shot, mixed_policy([[0.9, 0.1, 0.0], [0.5, 0.0, 0.5]]))
    np.testing.assert_allclose(left.parts[0].probs, [[2 / 3, 1 / 3, 0], [0.5, 0, 0.5]], rtol=1e-6)
    assert left.parts[1] is shot.parts[1]


@pytest.mark.parametrize("greedy", [True, False])
def test_masks_and_bounds_hold_in_every_step(greedy):
    """An illegal class or a number out of bounds would pay; class ``t`` is illegal at step ``t``, as real at the start."""

    def step(state, action, keys):
        wrong = action[:, 0] * (state == 0) + action[:, 1] * (state == 1) + (jnp.abs(action[:, 4]) > 1)
        return state + 1, 100 * wrong, jnp.ones(2)[:1].repeat(action.shape[0])

    def policy_and_value(state):
        probs = jnp.where((state == 0)[:, None], jnp.array([[0, 0.5, 0.5]]), jnp.array([[0.5, 0.0, 0.5]]))
        policy = mixed_policy([[0.0, 0, 1]], mean=2.0)
        spread = lambda x: jnp.broadcast_to(x, (state.shape[0], x.shape[1]))
        parts = PolicyPart(probs=probs), *jax.tree.map(spread, policy.parts[1:])
        return Policy(MIXED, parts), jnp.zeros(state.shape[0])

    config = PlannerConfig(method="cem", horizon=2, candidates=16, iterations=2, elites=2, policy_share=0.5)
    taken = []

    def recorded(state, action, keys):
        following, reward, discount = step(state, action, keys)
        jax.debug.callback(lambda paid: taken.append(np.asarray(paid)), reward)
        return following, reward, discount

    state = jnp.zeros(2, jnp.int32)
    first = policy_and_value(state)[0]
    run = functools.partial(
        plan_cem, PlanningModel(recorded, policy_and_value), state, first, config=config, greedy=greedy
    )
    run = jax.jit(run, compiler_options=QUICK)
    action = run(keys_of(2))
    jax.effects_barrier()
    assert len(taken) == config.horizon * config.iterations and not np.any(taken)
    assert np.all(action[:, 0] == 0) and np.all(np.abs(action[:, 4]) <= 1)


def test_a_share_of_the_sequences_is_the_actors():
    """Only the actor presses both buttons here, at every step, and only that pays."""

    def step(state, action, keys):
        return state, jnp.prod(action, -1), jnp.ones(action.shape[0])

    policy_of = lambda state: Policy(BUTTONS, (PolicyPart(jnp.ones((state.shape[0], 2))),))
    model = PlanningModel(step, lambda state: (policy_of(state), jnp.zeros(state.shape[0])))
    state = jnp.zeros((3, 1))
    press = {}
    for share in (0.0, 0.125):
        config = PlannerConfig(method="cem", horizon=12, candidates=8, iterations=1, elites=1, policy_share=share)
        run = functools.partial(plan_cem, model, state, policy_of(state), config=config, greedy=False)
        press[share] = jax.jit(run, compiler_options=QUICK)(keys_of(3))
    np.testing.assert_array_equal(press[0.125], 1)
    assert not np.all(press[0.0] == 1)
