"""Actor and critic networks at the start of training."""

import jax
import numpy as np
import pytest

from dreamjax.algorithms.actions import make_policy
from dreamjax.algorithms.distributions import scalar_decode
from dreamjax.types import ActionPart, ActionSpec, EnvSpec
from tests.helpers import networks
from tests.helpers.batches import EVERY_ACTION
from tests.helpers.configs import vary
from tests.helpers.parameters import random_params

FEAT = np.random.default_rng(0).normal(size=(50, 12)).astype(np.float32)


def test_outputs_by_part():
    parts = (ActionPart("categorical", 5), ActionPart("binary", 3), ActionPart("continuous", 2))
    assert ActionSpec(parts).output_size == 5 + 3 + 2 * 2


def test_an_untrained_policy_is_within_two_percent_of_uniform(tiny_config):
    """Contract 14."""
    spec = ActionSpec((ActionPart("categorical", 5), ActionPart("binary", 3), ActionPart("continuous", 2)))
    actor = networks.actor(tiny_config, EnvSpec({}, spec))

    def policy(key):
        outputs = actor.apply(actor.init(key, FEAT.shape[1]), FEAT)
        return [(p.probs, p.mean) for p in make_policy(spec, outputs, None, tiny_config.actor).parts]

    (five, _), (bits, _), (_, mean) = jax.jit(policy)(jax.random.key(0))
    np.testing.assert_allclose(five, 1 / 5, rtol=0.02)
    np.testing.assert_allclose(bits, 1 / 2, rtol=0.02)
    np.testing.assert_allclose(mean, 0, atol=0.04)
    assert np.std(five) > 0, "a policy that is exactly uniform everywhere has no gradient to its features"


@pytest.mark.parametrize("head", ["twohot", "mse"])
def test_the_critic_begins_at_exactly_zero(tiny_config, head):
    """Contract 14."""
    critic = networks.critic(vary(tiny_config, critic={"head": head}), EVERY_ACTION)
    value = jax.jit(lambda key: scalar_decode(critic.apply(critic.init(key, 12), FEAT)))(jax.random.key(0))
    assert value.shape == (50,)
    assert np.all(value == 0)


def test_binary_bias_moves_the_bits_logits_alone(tiny_config):
    spec = ActionSpec((ActionPart("continuous", 1), ActionPart("binary", 2), ActionPart("categorical", 3)))
    plain = networks.actor(tiny_config, EnvSpec({}, spec))
    biased = networks.actor(vary(tiny_config, actor={"binary_bias": (1.5, -2.0)}), EnvSpec({}, spec))
    params = random_params(lambda key: plain.init(key, FEAT.shape[1]))
    difference = jax.jit(lambda p: biased.apply(p, FEAT) - plain.apply(p, FEAT))(params)
    np.testing.assert_allclose(difference, np.broadcast_to([0, 0, 1.5, -2, 0, 0, 0], (50, 7)), atol=1e-5)
