"""Losses of actor and critic by hand, their gradient routes, and the policy gradient of a two-armed bandit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.algorithms import actor_critic, imagination
from dreamjax.algorithms.actions import make_policy
from dreamjax.types import ActionPart, ActionSpec, Imagination, RSSMState, WorldModel
from tests.helpers.arrays import sigmoid
from tests.helpers.configs import vary

ARMS = ActionSpec((ActionPart("categorical", 2),))
BITS = ActionSpec((ActionPart("binary", 3),))


def rollouts_of(action, *, cont, log_prob=None):
    n, h = action.shape[:2]
    zeros = jnp.zeros((n, h + 1))
    return Imagination(
        feat=zeros[..., None], action=action, log_prob=jnp.zeros((n, h)) if log_prob is None else log_prob, mask=None,
        reward=zeros, cont=jnp.asarray(cont, jnp.float32), row=jnp.arange(n),
    )  # fmt: skip


def make_case(config, **kwargs):
    """Two rollouts of three steps with three bits; all numbers random, the second starts in a finished episode."""
    rng = np.random.default_rng(0)
    raw, bits = rng.normal(size=(2, 3, 3)).astype(np.float32), rng.integers(0, 2, (2, 3, 3)).astype(np.float32)
    cont = np.float32([[1, 0.5, 0.8, 0.3], [0, 1, 1, 1]])
    returns, value = rng.normal(size=(2, 3)).astype(np.float32), rng.normal(size=(2, 4)).astype(np.float32)
    mu = np.float32([[-8, -0.5, -1], [-8, -1, -1]])  # pi is far above, and below
    rollouts = rollouts_of(bits, cont=cont, log_prob=mu)

    numbers = dict(gamma=config.loss.gamma, entropy_scale=config.actor.entropy)

    def loss(raw, returns=returns, value=value, rollouts=rollouts, scale=2.0):
        policy = make_policy(BITS, raw, None, config.actor)
        return actor_critic.actor_loss(policy, rollouts, returns, value, scale, **numbers, **kwargs)[0]

    p = (1 - config.actor.unimix) * sigmoid(raw) + config.actor.unimix / 2
    log_prob = np.sum(np.log(np.where(bits == 1, p, 1 - p)), -1)
    entropy = -np.sum(p * np.log(p) + (1 - p) * np.log(1 - p), -1)
    return loss, raw, cont, returns, value, mu, log_prob, entropy


@pytest.mark.parametrize("off_policy", [False, True])
def test_actor_loss_by_hand(tiny_config, off_policy):
    """Contracts 15, 18, 19: log-probability, entropy and baseline of the state acted from; w[t] = g^t prod_{i<=t} c[i];
    the mean over rollouts and steps; min(1, pi / mu) for rollouts of an older policy."""
    config = vary(tiny_config, actor={"entropy": 0.3}, loss={"gamma": 0.9})
    loss, raw, cont, returns, value, mu, log_prob, entropy = make_case(config, off_policy=off_policy)
    weight = np.cumprod(cont[:, :3], 1) * np.array([1, 0.9, 0.81])
    ratio = np.minimum(1, np.exp(log_prob - mu)) if off_policy else 1.0
    assert not off_policy or (np.any(ratio[0] < 1) and np.any(ratio[0] == 1))
    advantage = (returns - value[:, :3]) / 2
    expected = -np.mean(weight * (ratio * log_prob * advantage + 0.3 * entropy))
    np.testing.assert_allclose(jax.jit(loss)(raw), expected, rtol=1e-4)


def test_a_finished_start_teaches_nothing(tiny_config):
    """Contract 18: with c[0] = 0 the gradient of the whole rollout is exactly 0, entropy included."""
    config = vary(tiny_config, actor={"entropy": 0.3})
    loss, raw, *_ = make_case(config, off_policy=False)
    gradient = jax.jit(jax.grad(loss))(raw)
    assert np.all(gradient[1] == 0)
    assert np.all(gradient[0] != 0)


def test_the_actor_learns_from_advantages_alone_without_entropy(tiny_config):
    """Contract 21: the gradient is not zero, and changes when advantages are shuffled."""
    config = vary(tiny_config, actor={"entropy": 0.0})
    loss, raw, _, returns, *_ = make_case(config, off_policy=False)
    gradient = jax.jit(jax.grad(loss))
    plain, shuffled = gradient(raw, returns), gradient(raw, returns[:, ::-1])
    assert np.all(plain[0] != 0)
    assert np.all(plain[0, [0, 2]] != shuffled[0, [0, 2]])


def test_routes_of_the_actor_loss(tiny_config):
    """Contract 20: nothing but the policy gets a gradient; rollouts, returns, values and scale get exactly none."""
    config = vary(tiny_config, actor={"entropy": 0.3})
    loss, raw, cont, returns, value, mu, *_ = make_case(config, off_policy=True)

    def of_everything(raw, returns, value, cont, mu):
        bits = np.random.default_rng(0).integers(0, 2, (2, 3, 3)).astype(np.float32)
        return loss(raw, returns, value, rollouts_of(bits, cont=cont, log_prob=mu))

    grads = jax.jit(jax.grad(of_everything, (0, 1, 2, 3)))(raw, returns, value, jnp.asarray(cont), jnp.asarray(mu))
    assert [bool(np.any(x)) for x in grads] == [True, False, False, False]


def test_off_policy_weights_carry_no_gradient(tiny_config):
    """Contract 20: the gradient is w rho grad log pi A, not also through rho."""
    config = vary(tiny_config, actor={"entropy": 0.0}, loss={"gamma": 0.9})
    loss, raw, cont, returns, value, mu, log_prob, _ = make_case(config, off_policy=True)
    plain, *_ = make_case(config, off_policy=False)
    ratio = np.minimum(1, np.exp(log_prob - mu))
    gradient, without = jax.jit(jax.grad(loss))(raw), jax.jit(jax.grad(plain))(raw)
    np.testing.assert_allclose(gradient, ratio[..., None] * without, rtol=1e-3, atol=1e-7)


# The critic.


def test_critic_loss_by_hand():
    """Cross-entropy to the two-hot return plus, scaled, to the slow critic's value; weighted; the mean."""
    rng = np.random.default_rng(0)
    outputs, slow = (rng.normal(size=(2, 3, 3)).astype(np.float32) for _ in range(2))
    weight = np.float32([[1, 0.5, 0.25], [0, 0, 0]])
    # three bins at -b, 0, b: a target y > 0 puts y / b on the last, 1 - y / b on the middle one
    b = np.exp(20) - 1
    target = np.float32([[0, 0.25 * b, b], [1, 2, 3]])
    log_p = np.float64(outputs) - np.log(np.sum(np.exp(np.float64(outputs)), -1, keepdims=True))

    def entropy_to(y):
        up, down = np.maximum(y, 0) / b, np.maximum(-y, 0) / b
        return -(down * log_p[..., 0] + (1 - up - down) * log_p[..., 1] + up * log_p[..., 2])

    probs = np.exp(slow) / np.exp(slow).sum(-1, keepdims=True)
    expected = np.mean(weight * (entropy_to(target) + 0.5 * entropy_to((probs[..., 2] - probs[..., 0]) * b)))
    loss = jax.jit(functools.partial(actor_critic.critic_loss, slow_regularizer=0.5, symlog_limit=20.0))
    np.testing.assert_allclose(loss(outputs, slow, target, weight), expected, rtol=1e-4)
    grads = jax.jit(jax.grad(loss, (0, 1, 2, 3)))(outputs, slow, target, weight)
    assert [bool(np.any(x)) for x in grads] == [True, False, False, False], "contract 20: only the critic learns"
    assert np.all(grads[0][1] == 0), "contract 18"


@pytest.mark.parametrize("slow_target", [False, True])
def test_returns_bootstrap_from_the_critic_or_the_slow_one(slow_target):
    """Contracts 17, 19, 20: values of feat[0..H]; no gradient to either critic."""
    numbers = dict(gamma=0.9, lam=0.5, slow_target=slow_target, symlog_limit=20.0)
    rollouts = Imagination(
        feat=jnp.array([[[7.0], [10.0], [20.0]]]), action=None, log_prob=None, mask=None,
        reward=jnp.array([[9.0, 1.0, 2.0]]), cont=jnp.array([[9.0, 1.0, 0.5]]), row=None,
    )  # fmt: skip
    critic = lambda params: jnp.log1p(params * rollouts.feat)  # a symlog mean: the value is params * feat

    def run(fast, slow):
        return actor_critic.imagined_returns(critic(fast), critic(slow), rollouts, **numbers)

    fast, slow = (2.0, 1.0) if slow_target else (1.0, 2.0)  # 1 is the one in use
    returns, value = jax.jit(run)(fast, slow)
    np.testing.assert_allclose(value, [[7, 10, 20]], rtol=1e-5)
    np.testing.assert_allclose(returns, [[10.45, 11]], rtol=1e-5)  # by hand in test_returns
    grads = jax.grad(lambda *params: sum(jnp.sum(x) for x in run(*params)), (0, 1))(fast, slow)
    assert [float(x) for x in grads] == [0, 0]


# A bandit through the whole path: imagine, returns, loss.


def bandit():
    """One step; the reward of arriving by arm 0 is 1, by arm 1 it is 0. A symlog-mean reward head."""
    fields = dict.fromkeys(WorldModel._fields)
    fields |= {
        "imagine": lambda p, state, action, keys: (RSSMState(action, state.stoch), action),
        "feat": lambda state: state.deter,
        "reward": lambda p, feat: jnp.log1p(p * feat[..., :1]),
        "cont": lambda p, feat: jnp.full(feat.shape[:-1], 50.0),
    }
    return WorldModel(**fields)


def test_policy_gradient_of_a_bandit(tiny_config):
    """Contracts 19, 20, 22: the mean gradient is the analytic one within 3 standard errors; none reaches the rewards."""
    config = vary(tiny_config, actor={"entropy": 0.0, "unimix": 0.0})
    num, theta = 40_000, jnp.array([0.3, -0.4])
    baseline = jnp.log1p(0.2) * jnp.ones((1, 2, 1))

    def loss(theta, reward, key):
        """Of a single rollout; everything is differentiated that can be."""

        def policy_fn(feat, mask):
            return make_policy(ARMS, jnp.broadcast_to(theta, (*feat.shape[:-1], 2)), mask, config.actor)

        rollouts, _ = imagination.imagine(
            bandit(), reward, lambda *args: (policy_fn(*args), None), RSSMState(jnp.zeros((1, 2)), jnp.zeros((1, 1, 1))),
            keys=key[None], row=jnp.zeros(1, jnp.int32), horizon=1, gamma=config.loss.gamma, cont_discount=False,
        )  # fmt: skip
        gamma = config.loss.gamma
        returns, value = actor_critic.imagined_returns(
            baseline, baseline, rollouts, gamma=gamma, lam=config.loss.lam, slow_target=False, symlog_limit=20.0
        )
        policy, numbers = policy_fn(rollouts.feat[:, :-1], None), dict(gamma=gamma, entropy_scale=0.0)
        return actor_critic.actor_loss(policy, rollouts, returns, value, jnp.ones(()), **numbers, off_policy=False)[0]

    keys = jax.random.split(jax.random.key(0), num)
    gradient, to_reward = jax.jit(jax.vmap(jax.grad(loss, (0, 1)), (None, None, 0)))(theta, 1.0, keys)
    p = np.exp(theta) / np.sum(np.exp(theta))
    analytic = -p[0] * p[1] * np.array([1, -1])  # of -E[R] with R in {1, 0}, whatever the baseline
    error = np.std(gradient, 0) / np.sqrt(num)
    assert np.all(np.abs(np.mean(gradient, 0) - analytic) < 3 * error)
    assert np.all(3 * error < 0.1 * np.abs(analytic)), "too few samples to tell"
    assert not np.any(to_reward)


def test_doubling_the_rollouts_leaves_the_losses_unchanged(tiny_config):
    """Contract 15."""
    loss, raw, cont, returns, value, mu, *_ = make_case(tiny_config, off_policy=False)
    bits = np.ones((2, 3, 3), np.float32)
    twice = lambda x: np.concatenate([x, x])
    actor = jax.jit(lambda raw, r, v, bits, cont, mu: loss(raw, r, v, rollouts_of(bits, cont=cont, log_prob=mu)))
    args = (raw, returns, value, bits, cont, mu)
    np.testing.assert_allclose(actor(*args), actor(*map(twice, args)), rtol=1e-5)
    critic = jax.jit(functools.partial(actor_critic.critic_loss, slow_regularizer=1.0, symlog_limit=20.0))
    outputs = np.random.default_rng(0).normal(size=(2, 3, 15)).astype(np.float32)
    args = (outputs, outputs, returns, np.ones((2, 3), np.float32))
    np.testing.assert_allclose(critic(*args), critic(*map(twice, args)), rtol=1e-5)
