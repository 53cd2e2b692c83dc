"""Planning one step ahead: the values of candidates, and which of them is taken."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.algorithms.actions import make_policy
from dreamjax.algorithms.planning.candidates import joint_actions
from dreamjax.algorithms.planning.model import PlanningModel, reward_and_discount
from dreamjax.algorithms.planning.one_step import candidate_values, plan_one_step, standardize
from dreamjax.config import LossConfig, PlannerConfig
from dreamjax.types import ActionPart, ActionSpec, RSSMState, WorldModel
from tests.helpers.policies import keys_of, policy_of
from tests.helpers.xla import QUICK

CELLS = ActionSpec((ActionPart("categorical", 6, masked=True),))
MASK = np.array([[1, 0, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0], [1, 1, 1, 1, 1, 1]], bool)


def test_values_in_units_of_their_spread():
    q = jnp.array([[1.0, 5.0, 100.0], [5.0, 5.0, 5.0]])
    legal = jnp.array([[True, True, False], [True, True, True]])
    got = standardize(q, legal)
    np.testing.assert_allclose(got[0, :2], [-1, 1], rtol=1e-4)
    np.testing.assert_allclose(got[1], 0, atol=1e-4)


def counting_model(go_on=50.0):
    """A state is a number; action ``i`` adds ``i + 1``. Reward (symexp mean head) is a tenth of it; odd states end, and
    ``go_on`` is the logit of the others."""

    def imagine(params, state, action, keys):
        step = action @ jnp.arange(1.0, action.shape[-1] + 1)
        following = RSSMState(state.deter + step[:, None], state.stoch)
        return following, state.stoch

    nothing = lambda *_: None
    return WorldModel(
        init=nothing, initial=nothing, embed=nothing, observe=nothing, imagine=imagine, prior_logit=nothing, kl=nothing,
        feat=lambda state: state.deter, decode=nothing, predict=nothing,
        reward=lambda params, feat: jnp.log1p(feat / 10),
        cont=lambda params, feat: jnp.where(feat[..., 0] % 2 == 1, -50.0, go_on),
        mask=None, entropy=nothing, feat_size=1,
    )  # fmt: skip


def model_of(world_model, value, loss):
    """The planning model of a world model, a value function of features, and no actor."""

    def step(state, action, keys):
        following, _ = world_model.imagine({}, state, action, keys)
        return following, *reward_and_discount(world_model, {}, world_model.feat(following), loss)

    return PlanningModel(step, lambda state: (None, value(world_model.feat(state))))


# Where the continue target holds the discount, the probability that the episode goes on is the discount.
@pytest.mark.parametrize(("cont_discount", "go_on"), [(False, 50.0), (True, np.log(9))])
def test_q_is_reward_and_discounted_value_where_the_episode_goes_on(cont_discount, go_on):
    state = RSSMState(jnp.array([[0.0], [1.0]]), jnp.zeros((2, 1, 1)))
    action = jnp.broadcast_to(jnp.eye(3)[None], (2, 3, 3))
    loss = LossConfig(gamma=0.9, cont_discount=cont_discount)
    model = model_of(counting_model(go_on), lambda feat: 10 * feat[..., 0], loss)
    # From 0 to 1, 2, 3 and from 1 to 2, 3, 4: odd ones end.
    q = candidate_values(model, state, action, keys_of(2))
    np.testing.assert_allclose(q, [[0.1, 0.2 + 18, 0.3], [0.2 + 18, 0.3, 0.4 + 36]], rtol=1e-4)
    half = candidate_values(model, state, action, keys_of(2), bootstrap=0.5)
    np.testing.assert_allclose(half, [[0.1, 0.2 + 9, 0.3], [0.2 + 9, 0.3, 0.4 + 18]], rtol=1e-4)


def test_the_candidates_of_a_state_share_their_keys():
    def imagine(params, state, action, keys):
        return RSSMState(jax.vmap(jax.random.uniform)(keys)[:, None], state.stoch), state.stoch

    world_model = counting_model()._replace(imagine=imagine)
    state = RSSMState(jnp.zeros((3, 1)), jnp.zeros((3, 1, 1)))
    action = jnp.broadcast_to(jnp.eye(4)[None], (3, 4, 4))
    model = model_of(world_model, lambda feat: feat[..., 0], LossConfig())
    q = candidate_values(model, state, action, keys_of(3))
    np.testing.assert_array_equal(q, np.broadcast_to(q[:, :1], (3, 4)))
    assert len(np.unique(q)) == 3


def listing_model(pays, policy):
    """Action ``i`` earns ``pays[row, i]``, and nothing follows; states are rows."""
    step = lambda row, action, keys: (row, jnp.sum(pays[row] * action, -1), jnp.zeros(row.shape[0]))
    return PlanningModel(step, lambda row: (policy, jnp.ones(row.shape[0])))


def test_the_best_legal_candidate_is_taken_and_draws_follow_the_values(tiny_config):
    pays = jnp.array([[0.0, 9.0, 1.0, 2.0, 9.0, 9.0], [9.0, 9.0, 9.0, 0.0, 9.0, 9.0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]])
    policy, joint = policy_of(CELLS, 3, tiny_config, MASK), joint_actions(CELLS)
    model = listing_model(pays, policy)
    run = functools.partial(plan_one_step, model, jnp.arange(3), policy, joint=joint)
    best = run(keys_of(3), PlannerConfig(method="one_step", actions=0), greedy=True)
    np.testing.assert_array_equal(jnp.argmax(best, -1), [3, 3, 5])
    # The likeliest two are the only candidates.
    two = np.argsort(-np.asarray(policy.parts[0].probs), 1)[:, :2]
    legal = np.take_along_axis(MASK, two, 1)
    worth = np.where(legal, np.take_along_axis(np.asarray(pays), two, 1), -1)
    some = run(keys_of(3), PlannerConfig(method="one_step", actions=2), greedy=True)
    np.testing.assert_array_equal(jnp.argmax(some, -1), two[np.arange(3), worth.argmax(1)])


def test_draws_are_by_the_softmax_of_standardized_values(tiny_config):
    count, spec = 4000, ActionSpec((ActionPart("categorical", 2),))
    policy = make_policy(spec, jnp.zeros((count, 2)), None, tiny_config.actor)
    model = listing_model(jnp.tile(jnp.array([[0.0, 7.0]]), (count, 1)), policy)
    config = PlannerConfig(method="one_step", actions=0, act_temperature=2.0)
    run = jax.jit(
        lambda keys: plan_one_step(
            model, jnp.arange(count), policy, keys, config, joint=joint_actions(spec), greedy=False
        ),
        compiler_options=QUICK,
    )
    share = np.asarray(run(keys_of(count)))[:, 1].mean()
    expected = 1 / (1 + np.exp(-1))  # scores of -1 and 1, over 2
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / count)
