"""The learned model that planners step: reward, discount, mask, value, and an explorer's reward."""

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.algorithms.planning.model import disagreement_weights, latent_model
from dreamjax.config import ActorConfig, LossConfig
from dreamjax.types import NormalizerState, RSSMState
from tests.helpers.places import NO_PARAMS, SPEC, networks_of, place_model, unsure_networks, weights_of

LOSS = LossConfig(gamma=0.9, cont_discount=False)


def test_reward_discount_and_mask_are_the_models():
    model = latent_model(networks_of(place_model()), SPEC, NO_PARAMS, actor=ActorConfig(), loss=LOSS)
    state = RSSMState(jnp.array([[0.0], [2.0]]), jnp.zeros((2, 1, 1)))
    keys = jax.random.split(jax.random.key(0), 2)
    following, reward, discount = model.step(state, jnp.eye(3)[jnp.array([1, 0])], keys)
    np.testing.assert_array_equal(following.deter, [[2], [7]])
    np.testing.assert_allclose(reward, [0, 3], rtol=1e-5)
    np.testing.assert_allclose(discount, [0.9, 0], atol=1e-6)
    policy, value = model.policy_and_value(following)
    np.testing.assert_allclose(policy.parts[0].probs, [[0.5, 0.5, 0], [1 / 3] * 3], rtol=1e-5)
    np.testing.assert_array_equal(value, 0)


def test_an_explorers_reward_is_disagreement():
    state = RSSMState(jnp.array([[0.0], [0.0]]), jnp.zeros((2, 1, 1)))
    ask = (state, jnp.eye(3)[jnp.array([1, 2])], jax.random.split(jax.random.key(0), 2))

    def step(weights):
        params = {**NO_PARAMS, "ensemble": {}}
        model = latent_model(unsure_networks(), SPEC, params, actor=ActorConfig(), loss=LOSS, disagreement=weights)
        return model.step(*ask)[1:]

    np.testing.assert_allclose(step(None), [[0, 1], [0.9, 0.9]], rtol=1e-5)
    np.testing.assert_allclose(step(weights_of(6.0, 0.5)), [[6.0 * 4 / 8, 0.5 * 1], [0.9, 0.9]], rtol=1e-5)
    np.testing.assert_allclose(step(weights_of(-2.0, 1.0)), [[-2.0 * 4 / 8, 1], [0.9, 0.9]], rtol=1e-5)


def test_disagreement_is_weighed_in_units_of_its_moving_range():
    percentiles = NormalizerState(jnp.float32(1.0), jnp.float32(4.0), jnp.int32(1))
    weights = disagreement_weights(percentiles, rate=0.5, intrinsic=2.0, extrinsic=0.25)
    np.testing.assert_allclose(weights, [6, 2, 0.25])  # 4 - 1, as if moved from 0 by half
