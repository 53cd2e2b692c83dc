"""Latents: unimix, straight-through and reparameterised samples, KL and entropy, against NumPy and closed forms."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamjax.models import latents

CHI_SQUARE_999 = {2: 13.8, 3: 16.3, 4: 18.5}  # 99.9 % quantiles by degrees of freedom


def keys(num, seed=0):
    return jax.random.split(jax.random.key(seed), num)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def random_logit(seed, shape=(3, 4, 5), scale=3.0):
    return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


class LatentsTest(chex.TestCase):
    """With and without jit."""

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(2, 5, 32)
    def test_the_least_probability_is_the_uniform_share(self, classes):
        """Contract 11: with logits of +-100 the least probability is 0.01 / K."""
        logit = self.variant(latents.unimix_logit, static_argnums=1)(
            jnp.where(jnp.arange(classes) == 1, 100.0, -100.0), 0.01
        )
        probs = np.exp(logit)
        np.testing.assert_allclose(np.delete(probs, 1), 0.01 / classes, rtol=1e-5)
        np.testing.assert_allclose(probs[1], 0.99 + 0.01 / classes, rtol=1e-5)

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(0.0, 0.01, 0.3, 1.0)
    def test_unimix_mixes_probabilities_not_logits(self, unimix):
        """Contract 11."""
        raw = random_logit(0)
        expected = (1 - unimix) * softmax(raw) + unimix / 5
        np.testing.assert_allclose(
            np.exp(self.variant(latents.unimix_logit, static_argnums=1)(raw, unimix)), expected, rtol=1e-5
        )

    @chex.variants(with_jit=True, without_jit=True)
    def test_categorical_kl_is_summed_over_latents(self):
        """Contract 10: values by the definition in NumPy float64, and by hand."""
        kl = self.variant(latents.kl, static_argnums=2)
        left, right = (latents.unimix_logit(random_logit(seed), 0.01) for seed in (1, 2))
        p, q = np.exp(np.float64(left)), np.exp(np.float64(right))
        np.testing.assert_allclose(kl(left, right, "categorical"), np.sum(p * np.log(p / q), (-2, -1)), rtol=1e-4)
        # KL((1/2, 1/2) || (1/4, 3/4)) = ln 2 - ln(3) / 2 for each of two latents
        by_hand = kl(jnp.log(jnp.full((2, 2), 0.5)), jnp.log(jnp.array([[0.25, 0.75]] * 2)), "categorical")
        np.testing.assert_allclose(by_hand, 2 * (np.log(2) - np.log(3) / 2), rtol=1e-6)

    @chex.variants(with_jit=True, without_jit=True)
    def test_gaussian_kl_is_the_closed_form(self):
        """Contract 16: by hand, and against the integral of p log(p / q) on a fine grid."""
        kl = self.variant(latents.kl, static_argnums=2)
        # KL(N(1, 2) || N(0, 1)) = -ln 2 + (4 + 1) / 2 - 1/2 = 2 - ln 2; KL(N(0, 1) || N(1, 2)) = ln 2 + 2 / 8 - 1/2
        wide, unit = jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 1.0]])
        np.testing.assert_allclose(kl(wide, unit, "gaussian"), 2 - np.log(2), rtol=1e-6)
        np.testing.assert_allclose(kl(unit, wide, "gaussian"), np.log(2) + 0.25 - 0.5, rtol=1e-6)
        rng = np.random.default_rng(0)
        left, right = (np.stack([rng.normal(size=3), rng.uniform(0.3, 2, 3)], -1) for _ in range(2))
        x = np.linspace(-20, 20, 200_001)[:, None]
        log_p, log_q = (
            -0.5 * ((x - m[:, 0]) / m[:, 1]) ** 2 - np.log(m[:, 1] * np.sqrt(2 * np.pi)) for m in (left, right)
        )
        integral = np.sum(np.exp(log_p) * (log_p - log_q)) * (x[1, 0] - x[0, 0])
        np.testing.assert_allclose(kl(np.float32(left), np.float32(right), "gaussian"), integral, rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["categorical", "gaussian"]))
def test_kl_is_zero_for_equals_and_positive_otherwise(seed, kind):
    """Contract 10."""

    def draw(seed):
        raw = random_logit(seed, (2, 6))
        if kind == "gaussian":
            return latents.gaussian_logit(raw, 0.1)
        return latents.unimix_logit(raw.reshape(2, 3, 2), 0.01)

    left, right = draw(seed), draw(seed + 1)
    np.testing.assert_allclose(latents.kl(left, left, kind), 0, atol=1e-6)
    assert np.all(latents.kl(left, right, kind) > 0)


def test_entropy():
    half = jnp.log(jnp.full((3, 2), 0.5))
    np.testing.assert_allclose(latents.entropy(half, "categorical"), 3 * np.log(2), rtol=1e-6)
    # a Gaussian has ln(s) + ln(2 pi e) / 2 in each dimension
    unit = jnp.array([[0.0, 1.0], [5.0, np.e]])
    np.testing.assert_allclose(latents.entropy(unit, "gaussian"), 1 + np.log(2 * np.pi * np.e), rtol=1e-6)


def test_gaussian_std_is_bounded_away_from_zero():
    """Contract 16: softplus(raw) + min_std; the first half of the raw outputs are means."""
    raw = jnp.array([7.0, -7.0, -1000.0, 0.0])
    mean, std = np.moveaxis(np.asarray(latents.gaussian_logit(raw, 0.1)), -1, 0)
    np.testing.assert_array_equal(mean, [7, -7])
    np.testing.assert_allclose(std, [0.1, np.log(2) + 0.1], rtol=1e-6)


def test_gaussian_samples_are_reparameterised():
    """Contract 16: sample = mean + std * noise, with gradient 1 to the mean and noise to the deviation."""
    logit = jnp.stack([jnp.arange(6.0).reshape(2, 3), jnp.full((2, 3), 0.5)], -1)
    value, pull = jax.vjp(lambda x: latents.sample(x, keys(2), "gaussian"), logit)
    assert value.shape == (2, 3, 1)
    noise = (value[..., 0] - logit[..., 0]) / 0.5
    gradient = pull(jnp.ones_like(value))[0]
    np.testing.assert_allclose(gradient[..., 0], 1)
    np.testing.assert_allclose(gradient[..., 1], noise, rtol=1e-4)
    many = latents.sample(jnp.broadcast_to(jnp.array([2.0, 3.0]), (20_000, 1, 2)), keys(20_000, 1), "gaussian")
    np.testing.assert_allclose([np.mean(many), np.std(many)], [2, 3], atol=0.1)


def test_categorical_samples_are_exactly_one_hot_with_the_gradient_of_the_mixed_probabilities():
    """Contract 12: straight-through."""
    raw, cotangent = random_logit(3), random_logit(4)

    def draw(raw):
        return latents.sample(latents.unimix_logit(raw, 0.1), keys(3), "categorical")

    def draw_and_pull(raw):
        value, pull = jax.vjp(draw, raw)
        return value, pull(cotangent)[0]

    value, gradient = jax.jit(draw_and_pull)(raw)
    assert set(np.unique(value)) == {0.0, 1.0}
    np.testing.assert_array_equal(value.sum(-1), 1)
    mixed = jax.jit(jax.grad(lambda raw: jnp.sum((0.9 * jax.nn.softmax(raw) + 0.02) * cotangent)))(raw)
    np.testing.assert_allclose(gradient, mixed, rtol=1e-4, atol=1e-6)


def test_categorical_frequencies_pass_chi_square():
    """Contract 12: each latent of a row is drawn by its own number and its own probabilities."""
    num = 20_000
    probs = np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.0, 0.1, 0.2]], np.float32)
    logit = np.log(np.maximum(probs, 1e-30))
    draws = latents.sample(jnp.broadcast_to(logit, (num, 2, 4)), keys(num), "categorical")
    counts = np.asarray(draws.sum(0), np.float64)
    assert counts[1, 1] == 0
    for row, expected in zip(counts, probs * num, strict=True):
        some = expected > 0
        assert np.sum((row[some] - expected[some]) ** 2 / expected[some]) < CHI_SQUARE_999[some.sum() - 1]
    # independent: the joint frequency is the product
    joint = np.einsum("nsi,njk->sj", draws[:, :1, :1], draws[:, 1:, :1].reshape(num, 1, 1))[0, 0] / num
    np.testing.assert_allclose(joint, 0.1 * 0.7, atol=0.01)


@pytest.mark.parametrize(
    ("uniform", "index"),
    [(0.0, 2), (0.49, 2), (0.51, 1), (0.99, 1), (1 - 2**-24, 1)],
)
def test_one_hot_sample_inverts_the_cumulative_distribution_and_never_draws_probability_zero(uniform, index):
    """Contract 12, 24: classes of probability 0 at both ends stay undrawn, also at the ends of the uniform."""
    draw = latents.one_hot_sample(jnp.array([0.0, 1.0, 1.0, 0.0]), jnp.float32(uniform))
    assert int(np.argmax(draw)) == index


def test_a_rows_numbers_depend_on_its_own_key_alone():
    """Contract 28: a row draws the same wherever it lies in the batch."""
    for draw in (latents.row_uniform, latents.row_normal):
        np.testing.assert_array_equal(draw(keys(4), (3,))[2:], draw(keys(4)[2:], (3,)))
        assert len(np.unique(draw(keys(4), (3,)))) == 12
