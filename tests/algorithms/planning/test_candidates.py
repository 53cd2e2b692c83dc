"""Candidate actions: the list of all, their probabilities, and the best of them by a policy."""

import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.algorithms.planning.candidates import joint_actions, joint_log_prob, joint_records, top_actions
from dreamjax.types import ActionPart, ActionSpec
from tests.helpers.policies import keys_of, policy_of

CELLS = ActionSpec((ActionPart("categorical", 6, masked=True),))
MIXED = ActionSpec((ActionPart("binary", 2), ActionPart("categorical", 3)))
MASK = np.array([[1, 0, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0], [1, 1, 1, 1, 1, 1]], bool)


def test_every_joint_action_once():
    joint = joint_actions(MIXED)
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
        joint_actions(ActionSpec((part,)))


def test_joint_probabilities_are_the_policys(tiny_config):
    policy = policy_of(MIXED, 3, tiny_config)
    joint = joint_actions(MIXED)
    log_prob, legal = joint_log_prob(policy, joint)
    expected = [[policy.log_prob(jnp.asarray(a)[None].repeat(3, 0))[i] for a in joint] for i in range(3)]
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5)
    np.testing.assert_allclose(np.exp(log_prob).sum(1), 1, rtol=1e-5)
    assert np.all(legal)


def test_every_legal_action_is_a_candidate(tiny_config):
    top = top_actions(policy_of(CELLS, 3, tiny_config, MASK), joint_actions(CELLS), 6, keys_of(3))
    for row in range(3):
        index, legal = np.asarray(top.indices[row]), np.asarray(top.legal[row])
        assert sorted(index[legal]) == list(np.flatnonzero(MASK[row]))
        assert legal[: legal.sum()].all(), "the legal come first"
        assert len(set(index)) == 6


def test_candidates_are_drawn_by_the_policy(tiny_config):
    """The first of a Gumbel top-k is a sample: frequencies within four standard errors."""
    count = 4000
    one = policy_of(MIXED, 1, tiny_config)
    policy = one._replace(parts=tuple(p._replace(probs=jnp.repeat(p.probs, count, 0)) for p in one.parts))
    joint = joint_actions(MIXED)
    indices = np.asarray(top_actions(policy, joint, 3, keys_of(count)).indices)
    assert indices.shape == (count, 3)
    probs = np.exp(joint_log_prob(one, joint)[0][0])
    frequency = np.bincount(indices[:, 0], minlength=12) / count
    assert np.all(np.abs(frequency - probs) < 4 * np.sqrt(probs * (1 - probs) / count))
    assert np.all(np.diff(np.sort(indices, 1), axis=1) != 0), "drawn twice"


def test_the_likeliest_without_a_key(tiny_config):
    policy = policy_of(MIXED, 2, tiny_config)
    joint = joint_actions(MIXED)
    top = top_actions(policy, joint, 1, None)
    np.testing.assert_array_equal(joint[top.indices[:, 0]], policy.mode())
    np.testing.assert_array_equal(top.noise, 0)


def test_records_name_the_classes_and_the_bits():
    records = joint_records(MIXED, joint_actions(MIXED))
    assert records.shape == (12, 3) and len({tuple(row) for row in records}) == 12
    assert records[:, :2].max() == 1 and set(records[:, 2]) == {0, 1, 2}
