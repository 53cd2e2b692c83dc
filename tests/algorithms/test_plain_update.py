"""The fast update is the plain one: values and gradients within rounding."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.models.rssm import BlockGRU
from tests.helpers import plain_update
from tests.helpers.parameters import random_params


def test_an_update_has_the_losses_of_the_plain_one(learner):
    """Losses, everything else that is logged of them, posteriors, priorities and the scale of returns, on one batch."""
    x = learner("plain")
    state = x.state()
    after, metrics, outs = x.update(state, x.batch)
    plain = plain_update.update_losses(x.config, state, x.batch)
    grad_norms = {name for name in metrics if name.startswith("train/grad_norm/")}
    assert set(metrics) - grad_norms == set(plain.metrics)
    for name, value in plain.metrics.items():
        # Two-hot targets of large returns lie on wide bins, where float32 rounds.
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(outs.latents.deter, plain.deter, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outs.priority, plain.priority, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose([after.retnorm.low, after.retnorm.high], [plain.low, plain.high], rtol=1e-4)


def test_the_block_gru_and_its_gradients_are_the_plain_ones(tiny_config):
    config = tiny_config.model
    rng = np.random.default_rng(0)
    deter, stoch, action = (rng.normal(size=(6, n)).astype(np.float32) for n in (config.deter, 8, 3))
    module = BlockGRU(config, jnp.float32)
    params = random_params(module.init, deter, stoch, action)["params"]
    weights = rng.normal(size=deter.shape).astype(np.float32)

    def fast(params, *inputs):
        return jnp.sum(jnp.square(module.apply({"params": params}, *inputs)) * weights)

    def plain(params, *inputs):
        return jnp.sum(jnp.square(plain_update.block_gru(config, params, *inputs)) * weights)

    results = [jax.jit(jax.value_and_grad(fn, (0, 1, 2, 3)))(params, deter, stoch, action) for fn in (fast, plain)]
    chex.assert_trees_all_close(*results, rtol=1e-4, atol=1e-5)
    assert all(np.any(x != 0) for x in jax.tree.leaves(results[0]))
