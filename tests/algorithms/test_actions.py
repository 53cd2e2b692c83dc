"""Policies over action spaces, and records and vectors of actions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamjax.algorithms import actions
from dreamjax.config import ActorConfig
from dreamjax.types import ActionPart, ActionSpec
from tests.helpers.arrays import normal, sigmoid, softmax

ACTOR = ActorConfig(unimix=0.01, min_std=0.1, max_std=1.0)
BITS = ActionSpec((ActionPart("binary", 8),))
MASKED = ActionSpec((ActionPart("categorical", 5, masked=True),))


def test_records_and_vectors():
    spec = ActionSpec((ActionPart("categorical", 3), ActionPart("binary", 2), ActionPart("categorical", 2)))
    record = np.array([[2, 1, 0, 1], [0, 0, 1, 0]], np.int32)
    vector = [[0, 0, 1, 1, 0, 0, 1], [1, 0, 0, 0, 1, 1, 0]]
    np.testing.assert_array_equal(actions.action_vector(spec, record), vector)
    back = actions.action_record(spec, jnp.array(vector, jnp.float32))
    assert back.dtype == jnp.int32
    np.testing.assert_array_equal(back, record)
    mixed = ActionSpec((ActionPart("continuous", 2), ActionPart("categorical", 3)))
    np.testing.assert_allclose(actions.action_vector(mixed, np.float32([[-0.5, 2, 1]])), [[-0.5, 2, 0, 1, 0]])
    np.testing.assert_allclose(actions.action_record(mixed, jnp.array([[-0.5, 2, 0, 0, 1]])), [[-0.5, 2, 2]])


def test_eight_buttons_by_brute_force():
    """Contract 23: over all 256 joint actions total probability 1, the same log-probability and entropy (both sums)."""
    raw = normal(8, scale=2)
    joint = np.array(list(itertools.product([0, 1], repeat=8)), np.float32)

    @jax.jit
    def evaluate(raw, joint):
        policy = actions.make_policy(BITS, raw, None, ACTOR)
        return policy.log_prob(joint), policy.entropy(), policy.mode()

    log_prob, entropy, mode = map(np.float64, evaluate(np.broadcast_to(raw, (256, 8)), joint))
    np.testing.assert_allclose(np.exp(log_prob).sum(), 1, rtol=1e-5)
    p = 0.99 * sigmoid(raw) + 0.005
    np.testing.assert_allclose(log_prob, np.log(np.where(joint == 1, p, 1 - p)).sum(-1), rtol=1e-4)
    np.testing.assert_allclose(entropy[0], -np.sum(np.exp(log_prob) * log_prob), rtol=1e-5)
    np.testing.assert_array_equal(mode[0], joint[np.argmax(log_prob)])


def test_discrete_policies_have_the_uniform_share():
    """Contract 11: with logits of +-100 the least probability is 0.01 / K, of a bit 0.01 / 2."""
    spec = ActionSpec((ActionPart("categorical", 4), ActionPart("binary", 2)))
    raw = jnp.array([-100, 100, -100, -100, 100, -100.0])
    five, bits = actions.make_policy(spec, raw, None, ACTOR).parts
    np.testing.assert_allclose(five.probs, [0.0025, 0.9925, 0.0025, 0.0025], rtol=1e-5)
    np.testing.assert_allclose(bits.probs, [0.995, 0.005], rtol=1e-4)


def test_continuous_policy_is_a_bounded_normal():
    """Mean tanh, deviation between min and max; log-density and entropy are sums over dimensions."""
    spec = ActionSpec((ActionPart("continuous", 2),))
    raw, action = np.array([0.5, -9.0, -100.0, 1.0], np.float32), np.array([0.3, -2.0], np.float32)
    policy = actions.make_policy(spec, raw, None, ACTOR)
    mean, std = np.tanh(raw[:2]), 0.9 * sigmoid(raw[2:] + 2) + 0.1
    np.testing.assert_allclose(policy.parts[0].mean, mean, rtol=1e-5)
    np.testing.assert_allclose(policy.parts[0].std, std, rtol=1e-5)
    density = -0.5 * ((action - mean) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(policy.log_prob(jnp.array(action)), density.sum(), rtol=1e-5)
    np.testing.assert_allclose(policy.entropy(), np.sum(np.log(std) + 0.5 * np.log(2 * np.pi * np.e)), rtol=1e-5)
    # REINFORCE: no gradient through the action itself
    assert np.all(jax.grad(lambda x: policy.log_prob(x))(jnp.array(action)) == 0)


def test_a_product_of_parts_splits_outputs_and_actions_in_order():
    spec = ActionSpec((ActionPart("continuous", 2), ActionPart("categorical", 3), ActionPart("binary", 2)))
    raw, action = normal(4, 9), np.float32([[0.1, -0.2, 0, 1, 0, 1, 0]] * 4)
    whole = actions.make_policy(spec, raw, None, ACTOR)
    pieces = [(0, 4, 0, 2), (4, 7, 2, 5), (7, 9, 5, 7)]
    parts = [
        (actions.make_policy(ActionSpec((part,)), raw[:, a:b], None, ACTOR), action[:, c:d])
        for part, (a, b, c, d) in zip(spec.parts, pieces, strict=True)
    ]
    np.testing.assert_allclose(whole.log_prob(action), sum(p.log_prob(x) for p, x in parts), rtol=1e-5)
    np.testing.assert_allclose(whole.entropy(), sum(p.entropy() for p, _ in parts), rtol=1e-5)
    np.testing.assert_allclose(whole.mode(), np.concatenate([p.mode() for p, _ in parts], -1))


def test_samples_follow_the_policy_independently_by_part():
    """Contracts 12 and 23: frequencies of each part, and no part, bit or dimension moves with another."""
    spec = ActionSpec((ActionPart("binary", 2), ActionPart("categorical", 3), ActionPart("continuous", 2)))
    num = 20_000
    raw = np.array([1.0, -1.0, 0.5, 0.0, -1.0, 0.3, -0.3, 0.0, 1.0], np.float32)

    @jax.jit
    def draw(raw, key):
        policy = actions.make_policy(spec, raw, None, ACTOR)
        return policy.sample(jax.random.split(key, num)), policy.parts

    sample, (bits, classes, numbers) = draw(np.broadcast_to(raw, (num, 9)), jax.random.key(0))
    sample = np.asarray(sample)
    expected = np.concatenate([bits.probs[0], classes.probs[0], numbers.mean[0]])
    np.testing.assert_allclose(sample.mean(0), expected, atol=0.02)
    np.testing.assert_allclose(sample[:, 5:].std(0), numbers.std[0], rtol=0.03)
    assert set(np.unique(sample[:, :5])) == {0.0, 1.0}
    np.testing.assert_array_equal(sample[:, 2:5].sum(-1), 1)
    correlation = np.corrcoef(sample.T)
    correlation[2:5, 2:5] = 0  # classes of one part exclude each other
    np.testing.assert_allclose(correlation - np.diag(np.diag(correlation)), 0, atol=0.04)


@jax.jit
def masked_values(raw, mask, action):
    policy = actions.make_policy(MASKED, raw, mask, ACTOR)
    return policy.parts[0].probs, policy.entropy(), policy.log_prob(action)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=5, max_size=5), st.integers(0, 100))
def test_masked_policies(mask, seed):
    """Contract 24: illegal probability exactly 0, entropy over legal classes, an empty mask counts as none."""
    raw = normal(5, seed=seed, scale=3)
    legal = np.array(mask) if any(mask) else np.ones(5, bool)
    action = np.eye(5, dtype=np.float32)[np.argmax(legal)]
    probs, entropy, log_prob = map(np.asarray, masked_values(raw, np.array(mask), action))
    assert np.all(probs[~legal] == 0)
    p = 0.99 * softmax(raw[legal]) + 0.01 / legal.sum()
    np.testing.assert_allclose(probs[legal], p, rtol=1e-4)
    np.testing.assert_allclose(entropy, -np.sum(p * np.log(p)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(log_prob, np.log(probs[np.argmax(legal)]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mask", [[1, 0, 1, 1, 0], [0, 0, 1, 0, 0], [0] * 5], ids=["some", "one", "none"])
def test_gradients_and_samples_of_masked_policies(mask):
    """Contract 24: gradient of illegal logits exactly 0 and finite elsewhere; the same mask in sampling."""
    mask = np.array(mask, bool)
    legal = mask if mask.any() else np.ones(5, bool)
    raw, num = normal(5, scale=2), 5_000

    def policy(raw):
        return actions.make_policy(MASKED, jnp.broadcast_to(raw, (num, 5)), jnp.broadcast_to(mask, (num, 5)), ACTOR)

    @jax.jit
    def draw(raw, key):
        return policy(raw).sample(jax.random.split(key, num)), policy(raw).parts[0].probs[0], policy(raw).mode()[0]

    sample, probs, mode = draw(raw, jax.random.key(0))
    assert np.all(sample[:, ~legal] == 0)
    np.testing.assert_allclose(sample.mean(0), probs, atol=0.03)
    assert legal[np.argmax(mode)]
    for objective in (lambda raw: policy(raw).log_prob(sample)[0], lambda raw: policy(raw).entropy()[0]):
        gradient = np.asarray(jax.jit(jax.grad(objective))(raw))
        assert np.all(gradient[~legal] == 0)
        assert np.all(np.isfinite(gradient))
        assert np.any(gradient[legal] != 0) == (legal.sum() > 1)


def test_a_mask_is_used_by_masked_parts_alone():
    """Contract 24."""
    spec = ActionSpec((ActionPart("categorical", 3), ActionPart("categorical", 3, masked=True)))
    free, masked = actions.make_policy(spec, jnp.zeros(6), jnp.array([True, False, False]), ACTOR).parts
    np.testing.assert_allclose(free.probs, 1 / 3, rtol=1e-5)
    np.testing.assert_allclose(masked.probs, [1, 0, 0], rtol=1e-5)
