"""Lambda-returns from the definition, and the weights of imagined steps."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamjax.algorithms.actor_critic import replay_returns
from dreamjax.algorithms.returns import lambda_return, step_weights

RETURN = jax.jit(lambda_return)


def n_step_mixture(reward, cont, value, gamma, lam, is_last):
    """The definition, O(T^2): every n-step return of every step, weighted (1 - lam) lam^(n-1) and the rest on the last.

    The n-step return sums rewards and ends with a value; where an episode was cut, all longer returns equal that one.
    """
    rows, last = reward.shape[0], reward.shape[1] - 1
    result = np.zeros((rows, last))
    for b in range(rows):
        for t in range(last):
            total, reach, weight = 0.0, 1.0, 1.0
            for k in range(t + 1, last + 1):
                total += reach * reward[b, k]
                reach *= gamma * cont[b, k]
                share = weight if k == last or is_last[b, k] else weight * (1 - lam)
                result[b, t] += share * (total + reach * value[b, k])
                weight -= share
    return result


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 0.999), st.floats(0, 1), st.booleans())
def test_lambda_returns_are_the_mixture_of_n_step_returns(seed, gamma, lam, cuts):
    """Contracts 3 and 17: with any continuation, also cut by time limits."""
    rng = np.random.default_rng(seed)
    reward, value = rng.normal(size=(2, 3, 7))
    cont = rng.choice([0, 0.3, 1], (3, 7))
    is_last = rng.random((3, 7)) < 0.3 * cuts
    got = RETURN(*map(np.float32, (reward, cont, value)), gamma=gamma, lam=lam, is_last=is_last)
    np.testing.assert_allclose(got, n_step_mixture(reward, cont, value, gamma, lam, is_last), rtol=1e-3, atol=1e-4)


class ReturnsTest(chex.TestCase):
    """With and without jit."""

    @chex.variants(with_jit=True, without_jit=True)
    def test_by_hand(self):
        """Contract 17: r = [-, 1, 2], c = [-, 1, .5], v = [-, 10, 20], g = .9, lam = .5."""
        fn = self.variant(functools.partial(lambda_return, gamma=0.9))
        r, c, v = (jnp.array([x]) for x in ([7.0, 1.0, 2.0], [7.0, 1.0, 0.5], [7.0, 10.0, 20.0]))
        # R[1] = 2 + .9 * .5 * 20 = 11; R[0] = 1 + .9 * (.5 * 10 + .5 * 11) = 10.45. The entries of index 0 are not used.
        np.testing.assert_allclose(fn(r, c, v, lam=0.5), [[10.45, 11.0]], rtol=1e-6)
        # lam = 0 is one-step TD, lam = 1 the discounted sum plus the bootstrap
        np.testing.assert_allclose(fn(r, c, v, lam=0.0), [[1 + 9, 11]], rtol=1e-6)
        np.testing.assert_allclose(fn(r, c, v, lam=1.0), [[1 + 0.9 * 11, 11]], rtol=1e-6)
        # a time limit at step 1 keeps that step's bootstrap and cuts what follows
        cut = jnp.array([[False, True, False]])
        np.testing.assert_allclose(fn(r, c, v, lam=1.0, is_last=cut), [[1 + 0.9 * 10, 11]], rtol=1e-6)

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(0.0, 0.95, 1.0)
    def test_constant_reward_has_the_fixed_point_of_one_discount(self, lam):
        """Contract 17: 1 / (1 - g)."""
        one, fixed = jnp.ones((1, 6)), jnp.full((1, 6), 1 / (1 - 0.9))
        returns = self.variant(lambda_return)(one, one, fixed, gamma=0.9, lam=lam)
        np.testing.assert_allclose(returns, fixed[:, :-1], rtol=1e-5)

    @chex.variants(with_jit=True, without_jit=True)
    def test_weights_include_the_starts_own_continuation(self):
        """Contract 18: for c = [1, .5, .5] the weights are [1, g / 2, g^2 / 4]; for c[0] = 0 all are 0."""
        cont = jnp.array([[1, 0.5, 0.5], [0, 1, 1], [1, 1, 0]])
        expected = [[1, 0.9 * 0.5, 0.81 * 0.25], [0, 0, 0], [1, 0.9, 0]]
        np.testing.assert_allclose(self.variant(step_weights)(cont, gamma=0.9), expected, rtol=1e-6)


def test_replayed_returns_end_at_terminations_and_bootstrap_at_time_limits():
    """Contract 3: continuation from is_terminal alone, the cut from is_last."""
    reward, value = jnp.array([[0, 1.0, 2.0, 3.0]]), jnp.array([[10, 20, 30, 40.0]])
    last, never = jnp.array([[False, False, True, False]]), jnp.zeros((1, 4), bool)
    g, lam = 0.9, 0.95
    fn = functools.partial(replay_returns, gamma=g, lam=lam)
    end = 3 + g * 40
    for terminal, after in ((last, 0.0), (never, g * 30)):  # R[1] = r[2] + (0 or g v[2])
        second = 2 + after
        expected = [[1 + g * ((1 - lam) * 20 + lam * second), second, end]]
        np.testing.assert_allclose(fn(reward, last, terminal, value), expected, rtol=1e-5)
    gradient = jax.grad(lambda r, v: jnp.sum(fn(r, last, never, v)), (0, 1))(reward, value)
    assert not np.any(gradient), "targets are stop-gradient"
