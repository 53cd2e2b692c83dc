"""Piecewise-constant sequences: draws that change once, the best prefix, and the plan kept from step to step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.algorithms.actions import Policy, PolicyPart
from dreamjax.algorithms.planning.model import PlanningModel
from dreamjax.algorithms.planning.piecewise import (
    draw_piecewise,
    max_prefix_return,
    plan_piecewise,
    press_probabilities,
)
from dreamjax.types import ActionPart, ActionSpec
from tests.helpers.policies import keys_of
from tests.helpers.xla import QUICK

MIXED = ActionSpec((ActionPart("categorical", 3), ActionPart("binary", 2), ActionPart("continuous", 2)))
BUTTONS = ActionSpec((ActionPart("binary", 2),))
HORIZON, GAMMA = 5, 0.9


@pytest.mark.parametrize(("horizon", "second"), [(7, [0.5, 0.5, 0.0]), (2, [0.5, 2 * 0.1192029, 0.0])])
def test_a_rare_press_is_tried_last(horizon, second):
    probabilities = press_probabilities((0.0, -2.0, -1e6), 3, horizon=horizon)
    np.testing.assert_allclose(probabilities, [[0.5, 0.1192029, 0.0], second], rtol=1e-5)
    np.testing.assert_array_equal(press_probabilities((), 2, horizon=horizon), np.full((2, 2), 0.5))


@pytest.fixture(scope="module")
def drawn():
    probabilities = jnp.array([[0.25, 0.0], [0.25, 0.0]])
    draw = jax.jit(
        lambda keys: draw_piecewise(MIXED, keys, probabilities, count=2000, horizon=HORIZON),
        compiler_options=QUICK,
    )
    return np.asarray(draw(keys_of(2)))


def test_every_part_changes_at_most_once_at_a_step_of_its_own(drawn):
    shots = drawn
    assert shots.shape == (2, 2000, HORIZON, 7)
    np.testing.assert_array_equal(shots[..., :3].sum(-1), 1)
    changes = np.concatenate(
        [np.diff(shots[..., :3].argmax(-1), axis=2)[..., None] != 0, np.diff(shots[..., 3:], axis=2) != 0], -1
    )
    assert changes.sum(2).max() == 1
    # Numbers differ wherever they change: at each of the four steps between, or never, evenly; no two parts together.
    last = changes[..., -2:]
    np.testing.assert_allclose(last.mean((0, 1, 3)), 1 / HORIZON, atol=0.03)
    together = np.all(last, -1).sum(-1).mean()
    assert together == pytest.approx((HORIZON - 1) / HORIZON**2, abs=0.03)


def test_values_are_drawn_evenly(drawn):
    shots = drawn
    for step in (0, -1):
        np.testing.assert_allclose(shots[:, :, step, :3].mean((0, 1)), 1 / 3, atol=0.03)
        np.testing.assert_allclose(shots[:, :, step, 3:5].mean((0, 1)), [0.25, 0], atol=0.03)
        numbers = shots[:, :, step, 5:]
        assert np.abs(numbers).max() <= 1 and numbers.min() < -0.95 and numbers.max() > 0.95
        np.testing.assert_allclose(numbers.mean((0, 1)), 0, atol=0.04)


def test_each_group_of_bits_has_its_own_probabilities():
    spec = ActionSpec((ActionPart("binary", 1), ActionPart("binary", 2)))
    shots = draw_piecewise(spec, keys_of(1), jnp.array([[0.0, 1.0, 0.0], [0.0, 1.0, 1.0]]), count=64, horizon=HORIZON)
    np.testing.assert_array_equal(shots.mean((0, 1, 2))[:2], [0, 1])
    assert not shots[..., 0, 2].any(), "the first value of the last bit is no press, the second is"
    np.testing.assert_allclose(shots[..., -1, 2].mean(), 1 - 1 / HORIZON, atol=0.1)


def test_a_rows_draws_are_its_keys():
    draw = lambda keys: draw_piecewise(MIXED, keys, jnp.full((2, 2), 0.5), count=4, horizon=HORIZON)
    keys = keys_of(3)
    rows = draw(keys)
    np.testing.assert_array_equal(rows[1:2], draw(keys[1:2]))
    assert not np.array_equal(rows[0], rows[1])


def chain(pays, worth, ends=None):
    """States are (row, step): arriving at step ``t`` pays ``pays[row, t - 1]`` times the first bit, is worth ``worth``."""
    pays, worth = jnp.asarray(pays, jnp.float32), jnp.asarray(worth, jnp.float32)
    ends = jnp.zeros(pays.shape, bool) if ends is None else jnp.asarray(ends)

    def step(state, action, keys):
        row, t = state
        return (row, t + 1), pays[row, t] * action[:, 0], GAMMA * (1.0 - ends[row, t])

    def policy_and_value(state):
        row, t = state
        return Policy(BUTTONS, (PolicyPart(jnp.full((row.shape[0], 2), 0.5)),)), worth[row, t - 1]

    return PlanningModel(step, policy_and_value)


def test_a_sequence_is_worth_its_max_prefix_return():
    pays = [[1, 2, 0], [1, 0, 8], [0, 3, 8], [-1, -1, -1]]
    worth = [[0, 10, 1], [2, 1, 0], [1, 20, 30], [-3, -4, -5]]
    ends = [[0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]]
    rows = jnp.arange(4)
    found = max_prefix_return(
        chain(pays, worth, np.array(ends, bool)), (rows, 0 * rows), jnp.ones((4, 3, 2)), keys_of(4)
    )
    expected = [
        1 + 0.9 * 2 + 0.81 * 10,  # stopping after two steps
        1 + 0.81 * 8,  # going to the end: more than 1 + 0.9 * 2
        0.9 * 3,  # nothing is worth anything after the end
        -1 - 0.9 * 3,  # one step at least
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def planned(model, count, *, binary_bias=(), rows=3, mode=(0.0, 0.0), plan=None, keys=None):
    index = jnp.arange(rows)
    run = jax.jit(
        lambda plan, keys: plan_piecewise(
            model,
            BUTTONS,
            (index, 0 * index),
            jnp.broadcast_to(jnp.array(mode), (rows, 2)),
            plan,
            keys,
            count=count,
            binary_bias=binary_bias,
        ),
        compiler_options=QUICK,
    )
    plan = jnp.zeros((rows, HORIZON, 2)) if plan is None else plan
    return np.asarray(run(plan, keys_of(rows) if keys is None else keys))


def test_the_best_of_all_that_can_be_drawn():
    """Row 0 wants the bit throughout, row 1 never, row 2 for two steps alone."""
    pays = np.array([[1.0] * 5, [-1.0] * 5, [1, 1, -1, -1, -1]])
    plan = planned(chain(pays, np.zeros((3, 5))), 128)
    np.testing.assert_array_equal(plan[0, :, 0], 1)
    np.testing.assert_array_equal(plan[1, 0, 0], 0)
    np.testing.assert_array_equal(plan[2, :2, 0], 1)


def test_the_plan_before_is_kept_one_step_on_and_beaten_only_by_more():
    """What pays needs four changes, which no draw makes."""
    wanted = np.array([1.0, 0, 1, 0, 1])
    pays = np.broadcast_to(np.where(wanted > 0, 1.0, -1.0), (3, 5))
    plan = jnp.zeros((3, HORIZON, 2)).at[:, 1:, 0].set(jnp.asarray(wanted[:4]))
    kept = planned(chain(pays, np.zeros((3, 5))), 16, plan=plan)
    np.testing.assert_array_equal(kept[:, :, 0], [[1, 0, 1, 0, 0]] * 3)  # the last action goes on
    # Of equals the old one stays, so that a plan is carried out rather than drawn anew.
    same = planned(chain(np.zeros((3, 5)), np.zeros((3, 5))), 16, plan=plan)
    np.testing.assert_array_equal(same[:, :4], plan[:, 1:])


def test_the_actors_action_is_among_those_tried():
    """No draw presses a bit that the actor is kept from, and only that pays."""
    run = functools.partial(planned, binary_bias=(-1e6, 0.0))
    model = chain(np.ones((3, 5)), np.zeros((3, 5)))
    assert np.all(run(model, 8)[:, :, 0] == 0)
    plan = run(model, 8, mode=(1.0, 0.0))
    np.testing.assert_array_equal(plan[:, 0], [[1, 0]] * 3)


def test_sequences_of_a_row_share_their_keys_and_rows_do_not():
    """Rewards are chance alone: all sequences have the same return, so the previous plan stays."""

    def step(state, action, keys):
        return state, jax.vmap(jax.random.normal)(keys), jnp.ones(action.shape[0])

    policy_and_value = chain(np.zeros((3, 5)), np.zeros((3, 5))).policy_and_value
    model = PlanningModel(step, policy_and_value)
    plan = jnp.ones((3, HORIZON, 2))
    np.testing.assert_array_equal(planned(model, 4, plan=plan), plan)


def test_a_row_depends_on_itself_alone():
    pays = np.random.default_rng(0).normal(size=(3, 5))
    model = chain(pays, np.zeros((3, 5)))
    first, second = planned(model, 4), planned(model, 4, keys=keys_of(3).at[0].set(jax.random.key(9)))
    np.testing.assert_array_equal(first[1:], second[1:])
    run = functools.partial(planned, model, 4)
    assert any(not np.array_equal(run(keys=keys_of(3, seed)), first) for seed in range(1, 4))
