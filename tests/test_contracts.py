"""What holds across modules: no NaN anywhere at the extremes, in value or gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.algorithms import distributions as dist
from dreamjax.algorithms.actions import make_policy
from dreamjax.algorithms.actor_critic import actor_loss, critic_loss
from dreamjax.algorithms.normalization import init_normalizer, normalizer_scale, update_normalizer
from dreamjax.algorithms.optimizers import make_optimizer
from dreamjax.algorithms.returns import lambda_return
from dreamjax.config import ActorConfig, Config, OptimizerConfig
from dreamjax.models import latents
from dreamjax.models.nets import symexp, symlog
from dreamjax.types import ActionPart, ActionSpec, Imagination, ObsSpec

SIGN = np.array([[1, -1, 1], [-1, 1, -1]], np.float32)
ACTOR, CONFIG = ActorConfig(unimix=0.0, min_std=1e-3), Config()
EVERYTHING = ActionSpec(
    (ActionPart("categorical", 3, masked=True), ActionPart("binary", 2), ActionPart("continuous", 2))
)
MASKS = np.array([[0, 0, 0], [0, 1, 0], [1, 1, 1]], bool)


def categorical_kl(x):
    prior, post = latents.unimix_logit(x, 0.0), latents.unimix_logit(-x, 0.0)
    return latents.kl(prior, post, "categorical") + latents.entropy(prior, "categorical")


def gaussian_kl(x):
    prior, post = latents.gaussian_logit(x, 0.1), latents.gaussian_logit(-x, 0.1)
    return latents.kl(prior, post, "gaussian") + latents.entropy(prior, "gaussian")


def policy(raw):
    chosen = make_policy(EVERYTHING, raw, MASKS, ACTOR)
    return chosen.log_prob(chosen.mode()) + chosen.entropy()


def policy_gradient(raw):
    """Of three rollouts of one step, a finished start among them, under an older policy that never did this."""
    ones = jnp.ones((3, 1))
    both = jnp.concatenate([ones, ones], 1)
    chosen = make_policy(EVERYTHING, raw[:, None], MASKS[:, None], ACTOR)
    rollouts = Imagination(
        feat=both, action=chosen.mode(), log_prob=-1e9 * ones, mask=None, reward=both, row=None,
        cont=jnp.array([[0.0, 0], [1, 0], [1, 1]]),
    )  # fmt: skip
    constants = dict(gamma=CONFIG.loss.gamma, entropy_scale=CONFIG.actor.entropy, off_policy=True)
    return actor_loss(chosen, rollouts, 1e9 * ones, -1e9 * both, jnp.ones(()), **constants)[0]


def returns(reward):
    value = lambda_return(reward, jnp.abs(SIGN), -reward, gamma=0.99, lam=0.95)
    return value / normalizer_scale(update_normalizer(init_normalizer(), value, rate=0.01), rate=0.01, limit=1.0)


def observations(x):
    """x as prediction and as target of every kind of observation."""
    grid, vector = ObsSpec("grid", (1, 2, 3), "uint8", 2), ObsSpec("vector", (3,), "float32")
    kinds, cells = ObsSpec("discrete", (1,), "int32", 3), ObsSpec("grid", (1, 1, 1), "uint8", 6)
    return sum(
        jnp.sum(loss)
        for loss in (
            dist.observation_loss(grid, x[None], (x > 0).astype(jnp.float32)[None], True),
            dist.observation_loss(vector, symlog(x), -x, True),
            dist.observation_loss(kinds, x, jax.nn.one_hot(jnp.array([0, 1]), 3), True),
            dist.observation_loss(cells, x.reshape(6, 1, 1), jnp.eye(6)[0].reshape(6, 1, 1), True),
        )
    )


def optimizer(grads):
    """A first step from parameters of zero; part of the gradient is zero. Nothing differentiates through it."""
    grads = jax.lax.stop_gradient(grads)
    made = make_optimizer(OptimizerConfig(warmup=0), 0.1)
    tree = {"a": grads, "b": 0 * grads}
    return made.update(tree, made.init(jax.tree.map(jnp.zeros_like, tree)), jax.tree.map(jnp.zeros_like, tree))[0]["a"]


CASES = {
    "categorical_kl": (categorical_kl, (1e2, 1e9)),
    "gaussian_kl": (lambda x: gaussian_kl(jnp.concatenate([x, x[:, :1]], 1)), (1e2, 1e6)),
    "straight_through": (
        lambda x: latents.sample(
            latents.unimix_logit(x[:, None], 0.01), jax.random.split(jax.random.key(0), 2), "categorical"
        ),
        (1e2, 1e9),
    ),
    "policy": (lambda x: policy(jnp.tile(x, (2, 3))[:3]), (1e1, 1e2, 1e9)),
    "policy_gradient": (lambda x: policy_gradient(jnp.tile(x, (2, 3))[:3]), (1e1, 1e2, 1e9)),
    "two_hot": (lambda x: dist.two_hot_loss(jnp.stack([x, -x, x], -1), x) + dist.two_hot_decode(jnp.stack([x, -x, x], -1)),
                (0.0, 1e9)),
    "critic": (lambda x: critic_loss(jnp.stack([x, -x, x], -1), jnp.stack([-x, x, x], -1), x, jnp.ones((2, 3)),
                                     slow_regularizer=CONFIG.critic.slow_regularizer,
                                     symlog_limit=CONFIG.loss.symlog_limit),
               (0.0, 1e9)),
    "mse_head": (lambda x: dist.scalar_loss(x[..., None] / 1e8, x) + symexp(x / 1e8), (0.0, 1e9)),
    "returns": (returns, (0.0, 1e9)),
    "observations": (observations, (0.0, 1e2, 1e9)),
    "optimizer": (optimizer, (0.0, 1e-18, 1e9)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_no_nan_in_value_or_gradient(name):
    """Contract 27: at logits of +-1e9, rewards and values of +-1e9, empty masks, zero gradients; ``jax_debug_nans`` raises
    where the first NaN appears, and nothing becomes infinite either."""
    fn, scales = CASES[name]

    def value_and_gradient(x):
        value, pull = jax.vjp(fn, x)
        return value, pull(jnp.ones_like(value))[0]

    compiled = jax.jit(value_and_gradient)
    with jax.debug_nans(True):
        for scale in scales:
            value, gradient = compiled(scale * SIGN)
            assert np.all(np.isfinite(value)), (name, scale)
            assert np.all(np.isfinite(gradient)), (name, scale)
