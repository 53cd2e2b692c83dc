"""Return normalization against NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.algorithms import normalization as norm

UPDATE = jax.jit(functools.partial(norm.update_normalizer, rate=0.25))
SCALE = functools.partial(norm.normalizer_scale, rate=0.25, limit=1.0)


def test_moving_percentiles_against_numpy():
    """Contract 25: EMA of the 5th and the 95th percentile over all values, corrected for its start at zero."""
    state, low, high = norm.init_normalizer(), 0.0, 0.0
    for i in range(4):
        values = np.random.default_rng(i).normal(3, 10 * (i + 1), (40, 5)).astype(np.float32)
        state = UPDATE(state, values)
        low = 0.75 * low + 0.25 * np.percentile(values, 5)
        high = 0.75 * high + 0.25 * np.percentile(values, 95)
        np.testing.assert_allclose([state.low, state.high, state.count], [low, high, i + 1], rtol=1e-4)
        np.testing.assert_allclose(SCALE(state), (high - low) / (1 - 0.75 ** (i + 1)), rtol=1e-4)


def test_the_first_update_is_not_biased():
    """Contract 25: values 0..100 have percentiles 5 and 95; the scale is 90 at once."""
    np.testing.assert_allclose(SCALE(UPDATE(norm.init_normalizer(), jnp.arange(101.0))), 90, rtol=1e-5)


def test_without_the_correction_the_range_grows_from_zero():
    """Contract 25, the published code's choice: a quarter of 90 after one update at rate 1/4."""
    state = UPDATE(norm.init_normalizer(), jnp.arange(101.0))
    np.testing.assert_allclose(SCALE(state, debias=False), 90 / 4, rtol=1e-5)
    assert SCALE(UPDATE(norm.init_normalizer(), jnp.arange(101.0) / 100), debias=False) == 1


def test_constant_and_small_returns_are_not_blown_up():
    """Contract 25: constant returns give scale 1; so does a state that has seen nothing."""
    assert SCALE(UPDATE(norm.init_normalizer(), jnp.full((7, 3), 1e4))) == 1
    assert SCALE(UPDATE(norm.init_normalizer(), jnp.arange(101.0) / 1e3)) == 1
    assert SCALE(norm.init_normalizer()) == 1


def test_percentiles_see_all_devices():
    """Contract 28: of the gathered values, not the mean of each device's percentiles."""
    values = jnp.concatenate([jnp.zeros(50), jnp.linspace(0, 1000, 50)]).reshape(2, 50)
    update = functools.partial(norm.update_normalizer, rate=0.25, axis_name="device")
    state = jax.vmap(update, in_axes=(None, 0), out_axes=None, axis_name="device")(norm.init_normalizer(), values)
    np.testing.assert_allclose(state.high, 0.25 * np.percentile(values, 95), rtol=1e-5)


def test_no_gradient_flows_into_the_scale():
    """Contract 20."""
    gradient = jax.grad(lambda x: SCALE(UPDATE(norm.init_normalizer(), x)))(jnp.arange(101.0))
    assert np.all(gradient == 0)
