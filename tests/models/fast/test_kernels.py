"""Products with kernels: values and gradients against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.models.fast import kernels

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("lead", [(6,), (2, 3)])
def test_gradients_are_those_of_a_product(lead):
    """``d/dx = given W^T``, ``d/dW = sum over rows of x^T given``, by loops in NumPy."""
    x, kernel, given = (RNG.normal(size=shape).astype(np.float32) for shape in ((*lead, 4), (4, 3), (*lead, 3)))
    y, back = jax.vjp(jax.jit(kernels.multiply), x, kernel)
    expected = sum(np.outer(a, b) for a, b in zip(x.reshape(-1, 4), given.reshape(-1, 3), strict=True))
    np.testing.assert_allclose(y, x @ kernel, rtol=1e-5, atol=1e-6)
    to_x, to_kernel = back(given)
    np.testing.assert_allclose(to_x, given @ kernel.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(to_kernel, expected, rtol=1e-5, atol=1e-6)


def test_half_precision_kernels_have_gradients_of_their_own_kind():
    x, kernel = jnp.ones((5, 2), jnp.bfloat16), jnp.ones((2, 3), jnp.bfloat16)
    gradient = jax.grad(lambda kernel: jnp.sum(kernels.multiply(x, kernel).astype(jnp.float32)))(kernel)
    assert gradient.dtype == jnp.bfloat16 and np.all(gradient == 5)


def test_a_known_product_is_taken_as_it_is():
    """Even where it is wrong; the gradients are those of the product, and none leads to what is known."""
    x, kernel, known = (RNG.normal(size=shape).astype(np.float32) for shape in ((5, 4), (4, 3), (5, 3)))
    y, back = jax.vjp(kernels.matmul_cached, x, kernel, known)
    np.testing.assert_array_equal(y, known)
    given = RNG.normal(size=(5, 3)).astype(np.float32)
    to_x, to_kernel, to_known = back(given)
    np.testing.assert_allclose(to_x, given @ kernel.T, rtol=1e-5)
    np.testing.assert_allclose(to_kernel, x.T @ given, rtol=1e-5)
    assert not np.any(to_known)
