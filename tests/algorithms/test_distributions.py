"""Distributions against NumPy and brute force: two-hot scalars, observations, every kind of action."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamjax.algorithms import distributions as dist
from dreamjax.models.encoders import preprocess
from dreamjax.types import ObsSpec
from tests.helpers.arrays import log_softmax, normal, sigmoid, softmax

# Two-hot.

two_hot_position = jax.jit(lambda x: dist.two_hot_position(x, 41))


def test_bins_are_exactly_symmetric_symexp_spaced():
    """Contract 13."""
    bins = dist.two_hot_bins(5)
    np.testing.assert_allclose(bins, [1 - np.exp(20), 1 - np.exp(10), 0, np.exp(10) - 1, np.exp(20) - 1], rtol=1e-6)
    for num in (3, 41, 255):
        np.testing.assert_array_equal(dist.two_hot_bins(num), -dist.two_hot_bins(num)[::-1])


class TwoHotTest(chex.TestCase):
    """With and without jit."""

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(41, 255)
    def test_two_hot_decodes_to_what_was_encoded(self, num):
        """Contract 13: the values named there, at most two non-zeros, clipped at the ends."""
        x = np.array([-12345.6, -3.7, 0, 0.5, 123.4, 1e9, -1e9], np.float32)
        hot = np.asarray(self.variant(dist.two_hot_encode, static_argnums=1)(x, num))
        np.testing.assert_allclose(hot.sum(-1), 1, rtol=1e-6)
        assert np.all((hot > 0).sum(-1) <= 2)
        assert hot.min() >= 0
        end = np.exp(20) - 1
        with np.errstate(divide="ignore"):
            logits = np.log(hot)
        np.testing.assert_allclose(
            self.variant(dist.two_hot_decode)(logits), np.clip(x, -end, end), rtol=1e-4, atol=1e-5
        )

    @chex.variants(with_jit=True, without_jit=True)
    def test_uniform_logits_decode_to_exactly_zero(self):
        """Contract 13: for every size of bins and offset of the logits."""
        for num, offset in ((41, 0.0), (255, 7.3)):
            assert self.variant(dist.two_hot_decode)(jnp.full((2, num), offset)).tolist() == [0.0, 0.0]

    @chex.variants(with_jit=True, without_jit=True)
    def test_two_hot_decode_is_the_expectation_over_bins(self):
        """Contract 13."""
        logits = normal(6, 15)
        expected = softmax(logits) @ np.float64(dist.two_hot_bins(15))
        np.testing.assert_allclose(self.variant(dist.two_hot_decode)(logits), expected, rtol=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e8, 1e8, width=32, allow_subnormal=False))
def test_two_hot_neighbors_the_target(x):
    """Contract 13: the weight lies on the two bins around the target, linear between their *values*."""
    bins = dist.two_hot_bins(41)
    lower, weight = (float(v) for v in two_hot_position(jnp.float32(x)))
    low, high = bins[int(lower)], bins[int(lower) + 1]
    assert low <= np.float32(x) <= high
    np.testing.assert_allclose(weight, (x - low) / (high - low), rtol=1e-4, atol=1e-6)


def test_two_hot_loss_is_the_cross_entropy():
    """Contract 13: against the readable encoder; the minimum over logits is the target; the target gets no gradient."""
    logits, target = normal(7, 15), np.array([-1e9, -40, -0.3, 0, 0.3, 40, 1e9], np.float32)
    hot = np.float64(jax.jit(dist.two_hot_encode, static_argnums=1)(target, 15))
    loss = jax.jit(dist.two_hot_loss)
    np.testing.assert_allclose(loss(logits, target), -np.sum(hot * log_softmax(logits), -1), rtol=1e-5)
    to_logits, to_target = jax.jit(jax.grad(lambda x, y: jnp.sum(loss(x, y)), (0, 1)))(logits, target)
    np.testing.assert_allclose(to_logits, softmax(logits) - hot, atol=1e-5)
    assert np.all(to_target == 0)


def test_a_single_output_is_a_mean_in_symlog_space():
    outputs, target = jnp.array([[1.0], [-2.0]]), jnp.array([0.0, np.e - 1])
    np.testing.assert_allclose(dist.scalar_decode(outputs), [np.e - 1, 1 - np.e**2], rtol=1e-5)
    np.testing.assert_allclose(dist.scalar_loss(outputs, target), [0.5, 4.5], rtol=1e-5)
    assert np.all(jax.grad(lambda y: jnp.sum(dist.scalar_loss(outputs, y)))(target) == 0)


@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_binary_loss(target):
    logit = np.array([-3.0, 0.0, 2.0], np.float32)
    p = sigmoid(logit)
    expected = -(target * np.log(p) + (1 - target) * np.log(1 - p))
    np.testing.assert_allclose(dist.binary_loss(logit, target), expected, rtol=1e-5)


# Observations.

GRID, CELLS = ObsSpec("grid", (1, 3, 2), "uint8", 2), ObsSpec("grid", (2, 3, 2), "uint8", 4)
IMAGE, KIND = ObsSpec("image", (3, 2, 1), "uint8"), ObsSpec("discrete", (2,), "int32", 3)
MASK, VECTOR, NUMBER = (
    ObsSpec("mask", (4,), "bool"),
    ObsSpec("vector", (4,), "float32"),
    ObsSpec("vector", (), "float32"),
)


def bernoulli(x, p):
    return -(p * np.log(sigmoid(x)) + (1 - p) * np.log(1 - sigmoid(x)))


def cells_loss(x, y):
    return -np.sum(y.reshape(2, 5, 2, 4, 3, 2) * np.moveaxis(
        log_softmax(np.moveaxis(x.reshape(2, 5, 2, 4, 3, 2), 3, -1)), -1, 3), (2, 3, 4, 5))  # fmt: skip


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))


@pytest.mark.parametrize(
    ("entry", "use_symlog", "expected"),
    [
        (GRID, True, lambda x, y: bernoulli(x, y).sum((2, 3, 4))),
        (CELLS, True, cells_loss),
        (IMAGE, True, lambda x, y: np.square(x - y).sum((2, 3, 4))),
        (KIND, True, lambda x, y: -np.sum(y.reshape(2, 5, 2, 3) * log_softmax(x.reshape(2, 5, 2, 3)), (2, 3))),
        (MASK, True, lambda x, y: bernoulli(x, y).sum(2)),
        (VECTOR, True, lambda x, y: np.square(x - symlog(y)).sum(2)),
        (VECTOR, False, lambda x, y: np.square(x - y).sum(2)),
        (NUMBER, False, lambda x, y: np.square(x - y)),
    ],
    ids=["grid", "cells", "image", "discrete", "mask", "vector_symlog", "vector", "number"],
)
def test_observation_losses_sum_over_the_event(entry, use_symlog, expected):
    """Contract 15: [B, T] = [2, 5] is left; everything else is summed. The target gets no gradient."""
    rng = np.random.default_rng(0)
    if entry.kind == "vector":
        obs = 3 * normal(2, 5, *entry.shape)
    else:
        high = {"image": 256, "mask": 2}.get(entry.kind, entry.classes)
        obs = rng.integers(0, high, (2, 5, *entry.shape)).astype(entry.dtype)
    target = np.asarray(preprocess({"x": entry}, {"x": obs})["x"])
    prediction = normal(*target.shape, seed=1)
    loss = jax.jit(lambda x, y: dist.observation_loss(entry, x, y, use_symlog))
    np.testing.assert_allclose(loss(prediction, target), expected(prediction, target), rtol=1e-4)
    assert np.all(jax.grad(lambda y: jnp.sum(loss(prediction, y)))(target) == 0)
    # the mode of predictions that fit perfectly is the observation itself, in its own units
    fit = {"grid": 20 * target - 10, "mask": 20 * target - 10}.get(entry.kind, target)
    mode = dist.observation_mode(entry, symlog(fit) if entry.kind == "vector" and use_symlog else fit, use_symlog)
    assert mode.dtype == jnp.dtype(entry.dtype)
    np.testing.assert_allclose(np.float32(mode), np.float32(obs), rtol=1e-5)


def test_weighted_sum_wants_exactly_the_named_losses():
    losses = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([10.0, 20.0])}
    np.testing.assert_allclose(dist.weighted_sum(losses, {"a": 2.0, "b": 0.5}), [7, 14])
    for scales in ({"a": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}):
        with pytest.raises(AssertionError):
            dist.weighted_sum(losses, scales)
