"""The fast update is the plain one: values and gradients within rounding."""

import jax
import jax.numpy as jnp
import numpy as np
import plain_update
import small

from dreamjax.models.rssm import BlockGRU


def test_the_block_gru_and_its_gradients_are_the_plain_ones(tiny_config):
    config = tiny_config.model
    rng = np.random.default_rng(0)
    deter, stoch, action = (rng.normal(size=(6, n)).astype(np.float32) for n in (config.deter, 8, 3))
    module = BlockGRU(config, jnp.float32)
    params = small.random_params(module.init, deter, stoch, action)["params"]
    weights = rng.normal(size=deter.shape).astype(np.float32)

    def fast(params, *inputs):
        return jnp.sum(jnp.square(module.apply({"params": params}, *inputs)) * weights)

    def plain(params, *inputs):
        return jnp.sum(jnp.square(plain_update.block_gru(config, params, *inputs)) * weights)

    results = [jax.jit(jax.value_and_grad(fn, (0, 1, 2, 3)))(params, deter, stoch, action) for fn in (fast, plain)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *results)
    assert all(np.any(x != 0) for x in jax.tree.leaves(results[0]))
