"""Products with kernels: values and gradients against NumPy, and that what is known is not computed again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from scans import matrix_products

from dreamjax.models import kernels, nets
from dreamjax.models.heads import make_actor, make_critic
from dreamjax.models.world_model import make_world_model
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec

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


def test_what_is_recalled_is_taken_as_it_is():
    """Even where it is wrong; the gradients are those of the product, and none leads to what is recalled."""
    x, kernel, known = (RNG.normal(size=shape).astype(np.float32) for shape in ((5, 4), (4, 3), (5, 3)))
    y, back = jax.vjp(kernels.recall, x, kernel, known)
    np.testing.assert_array_equal(y, known)
    given = RNG.normal(size=(5, 3)).astype(np.float32)
    to_x, to_kernel, to_known = back(given)
    np.testing.assert_allclose(to_x, given @ kernel.T, rtol=1e-5)
    np.testing.assert_allclose(to_kernel, x.T @ given, rtol=1e-5)
    assert not np.any(to_known)


BUTTONS = EnvSpec({"board": ObsSpec("grid", (2, 6, 4), "uint8", classes=2)}, ActionSpec((ActionPart("binary", 8),)))
CELLS = EnvSpec(
    {"board": ObsSpec("grid", (1, 6, 4), "uint8", classes=2), "action_mask": ObsSpec("mask", (24,), "int8")},
    ActionSpec((ActionPart("categorical", 24, masked=True),)),
)
HEADS = {
    "vector": (make_actor, {}, small.EVERY_ACTION),
    "biased": (make_actor, {"actor": {"binary_bias": (1.0,) * 8}}, BUTTONS),
    "critic": (make_critic, {}, small.EVERY_ACTION),
    "buttons": (make_actor, {"model": {"kind": "grid", "stoch": 2, "classes": 2}}, BUTTONS),
    "cells": (make_actor, {"model": {"kind": "grid", "stoch": 2, "classes": 2, "reach": 2}}, CELLS),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_recalls_its_products_is_the_same_head(tiny_config, name):
    """Recorded step by step, recalled for all steps at once: the same outputs and gradients, forward without a product."""
    make, overrides, spec = HEADS[name]
    config = small.vary(tiny_config, **overrides)
    head, size = make(config, spec), make_world_model(config, spec).feat_size
    params = small.random_params(lambda key: head.init(key, size))
    feat = RNG.normal(size=(3, 2, size)).astype(np.float32)

    def loss(params, products):
        outputs = head.apply(params, feat, products)
        return jnp.sum(jnp.square(outputs)), outputs

    @jax.jit
    def both(params):
        stepwise = [head.record(params, feat[:, t]) for t in range(2)]
        products = jax.tree.map(lambda *x: jnp.stack(x, 1), *(made for _, made in stepwise))
        recorded = jnp.stack([outputs for outputs, _ in stepwise], 1)
        fn = jax.grad(loss, has_aux=True)
        return recorded, products, fn(params, products), fn(params, None)

    recorded, products, recalled, plain = both(params)
    np.testing.assert_allclose(recorded, plain[1], rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), recalled, plain)
    plainly = list(matrix_products(jax.make_jaxpr(head.apply)(params, feat).jaxpr))
    assert len(plainly) >= len(jax.tree.leaves(products)) > 0
    again = jax.make_jaxpr(lambda params, products: head.apply(params, feat, products))(params, products)
    assert not list(matrix_products(again.jaxpr))


def test_initialising_records_nothing():
    variables = jax.eval_shape(nets.Dense(3).init, jax.random.key(0), jnp.ones((2, 4)))
    assert set(variables) == {"params"}
