"""Kernels' gradients taken after a scan are those taken in it, and none is left behind in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.algorithms import world_model_loss as wml
from dreamjax.models.fast.deferred_gradients import make_slot, matmul_deferred
from dreamjax.training.runtime import memory
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec
from tests.helpers import networks
from tests.helpers.batches import random_batch
from tests.helpers.configs import vary
from tests.helpers.jaxprs import parts_of
from tests.helpers.parameters import random_params
from tests.helpers.xla import QUICK

B, T = 3, 5
SPEC = EnvSpec({"vector": ObsSpec("vector", (7,), "float32")}, ActionSpec((ActionPart("categorical", 4),)))
MODELS = [
    {"latent": "categorical", "posterior_layers": 2},
    {"latent": "gaussian", "cell": "gru", "norm": "none", "act": "elu", "prior_layers": 1},
]


@pytest.mark.parametrize("blocks", [None, 2])
def test_a_slot_gathers_the_kernels_gradient(blocks):
    """``h[t] = tanh(h[t-1] W) x[t]``: the sum over steps of ``h[t-1]^T dh[t] (1 - tanh^2) x[t]``, by a loop in NumPy."""
    rng = np.random.default_rng(0)
    lead = () if blocks is None else (blocks,)
    kernel = rng.normal(size=(*lead, 4, 4))
    start, scale, weight = (
        rng.normal(size=(*lead, B, 4)),
        rng.normal(size=(T, *lead, B, 4)),
        rng.normal(size=(*lead, B, 4)),
    )

    def loss(kernel):
        step = lambda h, x: (jnp.tanh(matmul_deferred(h, jax.lax.stop_gradient(kernel), x[1])) * x[0], None)
        slots = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), make_slot(kernel, B, T, jnp.float32))
        return jnp.sum(weight * jax.lax.scan(step, jnp.float32(start), (jnp.float32(scale), slots))[0])

    got = jax.grad(loss)(jnp.float32(kernel))
    states = [start]
    for t in range(T):
        states.append(np.tanh(states[-1] @ kernel) * scale[t])
    given, expected = weight, 0
    for t in reversed(range(T)):
        inner = given * scale[t] * (1 - np.square(np.tanh(states[t] @ kernel)))
        expected = expected + np.swapaxes(states[t], -1, -2) @ inner
        given = inner @ np.swapaxes(kernel, -1, -2)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def shapes_in_scans(jaxpr):
    """Shapes of what scans hand on from step to step."""
    found = set()
    for equation in jaxpr.eqns:
        for inner in memory._inner(equation):
            found |= shapes_in_scans(inner)
        if equation.primitive.name == "scan":
            body, _, first, count = parts_of(equation.params)
            found |= {x.aval.shape for x in body.invars[first : first + count]}
    return found


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["latent"])
def test_the_world_models_gradient_is_that_of_plain_products(tiny_config, model):
    config = vary(tiny_config, model=model)
    deferring = networks.world_model(config, SPEC)
    params = random_params(deferring.init)
    batch = random_batch(SPEC, batch=B, length=T)

    def gradient(world_model):
        def loss(params):
            key = jax.random.key(1)
            return wml.world_model_loss(params, world_model, SPEC, config.loss, batch, key, symlog=True)[0]

        fn = jax.grad(loss)
        kernels = {x.shape for path, x in jax.tree_util.tree_leaves_with_path(params["rssm"]) if "kernel" in str(path)}
        kept = shapes_in_scans(jax.make_jaxpr(fn)(params).jaxpr) & kernels
        return jax.jit(fn, compiler_options=QUICK)(params), kept

    ours, left = gradient(deferring)
    plain, summed = gradient(deferring._replace(fast=None))
    assert left == set() and len(summed) > 2
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(ours), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5 * np.abs(b).max(), err_msg=str(path))


def test_half_precision_sums_in_the_kernels_own(tiny_config):
    """300 steps of 1 * 1 in bfloat16 would stop at 256."""
    ones = jnp.ones((1, 300, 1), jnp.bfloat16)
    _, back = jax.vjp(lambda kernel: make_slot(kernel, 1, 300, jnp.bfloat16), jnp.ones((1, 1)))
    (gradient,) = back((ones, ones))
    assert gradient.dtype == jnp.float32 and gradient == 300
