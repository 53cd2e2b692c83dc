"""One-step search: which actions are tried, what they are worth, and what actor and critic learn from it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamjax.algorithms import search
from dreamjax.algorithms.distributions import make_policy
from dreamjax.types import ActionPart, ActionSpec, RSSMState, WorldModel

CELLS = ActionSpec((ActionPart("categorical", 6, masked=True),))
MIXED = ActionSpec((ActionPart("binary", 2), ActionPart("categorical", 3)))
MASK = np.array([[1, 0, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0], [1, 1, 1, 1, 1, 1]], bool)


def policy_of(spec, rows, config, mask=None, seed=0):
    outputs = sum(part.size for part in spec.parts)
    raw = np.random.default_rng(seed).normal(size=(rows, outputs)).astype(np.float32)
    return make_policy(spec, jnp.asarray(raw), mask, config.actor)


def keys_of(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def test_every_joint_action_once():
    joint = search.joint_actions(MIXED)
    assert joint.shape == (12, 5) and len({tuple(row) for row in joint}) == 12
    np.testing.assert_array_equal(joint[:, 2:].sum(1), 1)
    assert {tuple(row) for row in joint[:, :2]} == {(0, 0), (0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize(
    "part, message",
    [
        (ActionPart("continuous", 1, low=(0.0,), high=(1.0,)), "continuous"),
        (ActionPart("binary", 13), "more than 4096"),
    ],
)
def test_actions_that_cannot_be_listed(part, message):
    with pytest.raises(ValueError, match=message):
        search.joint_actions(ActionSpec((part,)))


def test_joint_probabilities_are_the_policys(tiny_config):
    policy = policy_of(MIXED, 3, tiny_config)
    joint = search.joint_actions(MIXED)
    log_prob, legal = search.joint_log_prob(policy, joint)
    expected = [[policy.log_prob(jnp.asarray(a)[None].repeat(3, 0))[i] for a in joint] for i in range(3)]
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5)
    np.testing.assert_allclose(np.exp(log_prob).sum(1), 1, rtol=1e-5)
    assert np.all(legal)


def test_all_legal_actions_are_tried_and_the_taken_one_first(tiny_config):
    policy = policy_of(CELLS, 3, tiny_config, MASK)
    taken = jax.nn.one_hot(jnp.array([3, 3, 0]), 6)
    tried = search.candidates(policy, search.joint_actions(CELLS), 6, keys_of(3), taken)
    index = np.argmax(np.asarray(tried.action), -1)
    np.testing.assert_array_equal(index[:, 0], [3, 3, 0])
    for row in range(3):
        assert sorted(index[row][np.asarray(tried.legal[row])]) == list(np.flatnonzero(MASK[row]))
        assert len(set(index[row])) == 6


def test_candidates_are_drawn_by_the_policy(tiny_config):
    """The first of a Gumbel top-k is a sample: frequencies within four standard errors."""
    count = 4000
    one = policy_of(MIXED, 1, tiny_config)
    policy = one._replace(parts=tuple(p._replace(probs=jnp.repeat(p.probs, count, 0)) for p in one.parts))
    joint = search.joint_actions(MIXED)
    tried = search.candidates(policy, joint, 3, keys_of(count))
    assert tried.action.shape == (count, 3, 5)
    probs = np.exp(search.joint_log_prob(one, joint)[0][0])
    first = np.array([np.flatnonzero((joint == a).all(1))[0] for a in np.asarray(tried.action[:, 0])])
    frequency = np.bincount(first, minlength=12) / count
    assert np.all(np.abs(frequency - probs) < 4 * np.sqrt(probs * (1 - probs) / count))
    assert np.all(np.diff(np.sort(np.asarray(tried.action) @ (2.0 ** np.arange(5)), 1), axis=1) != 0), "drawn twice"


def test_the_likeliest_without_a_key(tiny_config):
    policy = policy_of(MIXED, 2, tiny_config)
    tried = search.candidates(policy, search.joint_actions(MIXED), 1, None)
    np.testing.assert_array_equal(tried.action[:, 0], policy.mode())


def test_values_in_units_of_their_spread():
    q = jnp.array([[1.0, 5.0, 100.0], [5.0, 5.0, 5.0]])
    legal = jnp.array([[True, True, False], [True, True, True]])
    got = search.standardise(q, legal)
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


# Where the continue target holds the discount, the probability that nothing ends is the discount.
@pytest.mark.parametrize(("cont_discount", "go_on"), [(False, 50.0), (True, np.log(9)), (True, 50.0)])
def test_q_is_reward_and_discounted_value_where_it_goes_on(tiny_config, cont_discount, go_on):
    config = small.vary(tiny_config, loss={"gamma": 0.9, "cont_discount": cont_discount}, search={"temperature": 0.5})
    state = RSSMState(jnp.array([[0.0], [1.0]]), jnp.zeros((2, 1, 1)))
    policy = policy_of(ActionSpec((ActionPart("categorical", 3),)), 2, config)
    action = jnp.broadcast_to(jnp.eye(3)[None], (2, 3, 3))
    legal = jnp.array([[True, True, True], [True, True, False]])
    tried = search.Candidates(action, jnp.zeros((2, 3)), legal)
    model = counting_model(go_on)
    found = search.evaluate_candidates(model, {}, lambda f: 10 * f[..., 0], state, tried, keys_of(2), config)
    # From 0 to 1, 2, 3 and from 1 to 2, 3, 4: odd ones end.
    np.testing.assert_allclose(found.q, [[0.1, 0.2 + 18, 0.3], [0.2 + 18, 0.3, 0.4 + 36]], rtol=1e-4)
    half = search.evaluate_candidates(
        model, {}, lambda f: 10 * f[..., 0], state, tried, keys_of(2), config, bootstrap=0.5
    )
    np.testing.assert_allclose(half.q, [[0.1, 0.2 + 9, 0.3], [0.2 + 9, 0.3, 0.4 + 18]], rtol=1e-4)
    score = np.asarray(search.standardise(found.q, legal)) / 0.5
    expected = np.where(legal, np.exp(score - score.max(1, keepdims=True)), 0)
    np.testing.assert_allclose(found.weight, expected / expected.sum(1, keepdims=True), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.value, np.sum(np.asarray(found.weight) * np.asarray(found.q), 1), rtol=1e-5)
    assert policy.spec.vector_size == 3


def test_one_states_candidates_share_their_luck(tiny_config):
    def imagine(params, state, action, keys):
        return RSSMState(jax.vmap(jax.random.uniform)(keys)[:, None], state.stoch), state.stoch

    model = counting_model()._replace(imagine=imagine)
    state = RSSMState(jnp.zeros((3, 1)), jnp.zeros((3, 1, 1)))
    action = jnp.broadcast_to(jnp.eye(4)[None], (3, 4, 4))
    tried = search.Candidates(action, jnp.zeros((3, 4)), jnp.ones((3, 4), bool))
    q = search.evaluate_candidates(model, {}, lambda f: f[..., 0], state, tried, keys_of(3), tiny_config).q
    np.testing.assert_array_equal(q, np.broadcast_to(q[:, :1], (3, 4)))
    assert len(np.unique(q)) == 3


def tree_backup_loop(value, q, weight, reward, is_last, is_terminal, gamma, lam):
    out = np.array(value, np.float64)
    for b in range(value.shape[0]):
        for t in range(value.shape[1] - 2, -1, -1):
            if not is_last[b, t]:
                cont = 0.0 if is_terminal[b, t + 1] else 1.0
                delta = reward[b, t + 1] + gamma * cont * out[b, t + 1] - q[b, t]
                out[b, t] = value[b, t] + lam * weight[b, t] * delta
    return out


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_tree_backup_against_a_loop(seed, lam):
    rng = np.random.default_rng(seed)
    shape = (3, 6)
    value, q, reward = (rng.normal(size=shape).astype(np.float32) for _ in range(3))
    weight = rng.random(shape).astype(np.float32)
    is_last = rng.random(shape) < 0.2
    is_terminal = is_last & (rng.random(shape) < 0.5)
    args = (value, q, weight, reward, is_last, is_terminal)
    got = search.tree_backup(*map(jnp.asarray, args), gamma=0.9, lam=lam)
    np.testing.assert_allclose(got, tree_backup_loop(*args, 0.9, lam), rtol=1e-4, atol=1e-5)


def test_tree_backup_of_an_exact_model_is_the_return():
    """Weight 1 and ``q = r + g v'`` telescope to the discounted rewards and the last value."""
    reward, value = np.float32([[9, 1, 2, 3]]), np.float32([[0, 0.5, -1, 7]])
    q = np.pad(reward[:, 1:] + 0.5 * value[:, 1:], ((0, 0), (0, 1)))
    value[:, :-1] = q[:, :-1]
    q[:, :-1] = reward[:, 1:] + 0.5 * value[:, 1:]
    value[:, :-1] = q[:, :-1]
    flags = np.zeros((1, 4), bool)
    got = search.tree_backup(
        jnp.asarray(value), jnp.asarray(q), jnp.ones((1, 4)), jnp.asarray(reward), flags, flags, gamma=0.5, lam=1.0
    )
    np.testing.assert_allclose(got[0, 0], 1 + 0.5 * 2 + 0.25 * 3 + 0.125 * 7, rtol=1e-6)


def test_distillation_is_least_at_the_improved_policy(tiny_config):
    config = small.vary(tiny_config, actor={"unimix": 0.0})
    spec = ActionSpec((ActionPart("categorical", 3),))
    weight = jnp.array([[0.5, 0.3, 0.2]])
    tried = search.Candidates(jnp.eye(3)[None], jnp.zeros((1, 3)), jnp.ones((1, 3), bool))
    found = search.Searched(jnp.zeros((1, 3)), weight, jnp.zeros((1,)))

    def loss(raw):
        return search.distillation_loss(make_policy(spec, raw, None, config.actor), tried, found)[0]

    np.testing.assert_allclose(jax.grad(loss)(jnp.log(weight)), 0, atol=1e-6)
    raw = jnp.array([[1.0, 0.0, -1.0]])
    p = np.exp([1.0, 0, -1]) / np.exp([1.0, 0, -1]).sum()
    np.testing.assert_allclose(loss(raw), -np.sum(np.asarray(weight[0]) * np.log(p)), rtol=1e-5)
    np.testing.assert_allclose(jax.grad(loss)(raw)[0], p - np.asarray(weight[0]), rtol=1e-4)


def test_distillation_of_buttons_reads_the_factors(tiny_config):
    config = small.vary(tiny_config, actor={"unimix": 0.0})
    spec = ActionSpec((ActionPart("binary", 2),))
    tried = search.Candidates(jnp.array([[[1.0, 0], [0, 0]]]), jnp.zeros((1, 2)), jnp.ones((1, 2), bool))
    found = search.Searched(jnp.zeros((1, 2)), jnp.array([[0.75, 0.25]]), jnp.zeros((1,)))
    grad = jax.grad(lambda raw: search.distillation_loss(make_policy(spec, raw, None, config.actor), tried, found)[0])(
        jnp.zeros((1, 2))
    )
    # Each button's probability moves towards how often the improved policy presses it.
    np.testing.assert_allclose(grad[0], [0.5 - 0.75, 0.5 - 0.0], rtol=1e-5)


def test_distillation_leaves_out_what_is_illegal(tiny_config):
    """Where only a part of an action is illegal, the other part teaches nothing either."""
    spec = ActionSpec((ActionPart("categorical", 3, masked=True), ActionPart("binary", 1)))
    policy = policy_of(spec, 3, tiny_config, np.array([[1, 0, 1], [0, 0, 1], [1, 1, 1]], bool))
    tried = search.candidates(policy, search.joint_actions(spec), 6, keys_of(3))
    weight = jnp.full((3, 6), 0.5)
    loss = search.distillation_loss(policy, tried, search.Searched(weight, weight, weight[:, 0]))
    np.testing.assert_allclose(loss, -0.5 * np.where(tried.legal, tried.log_prob, 0).sum(1), rtol=1e-5)
