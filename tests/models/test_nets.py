"""Layers against NumPy: symlog, norms, block-diagonal kernels, initialization."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamjax.models import nets
from tests.helpers.parameters import random_params


def key(seed=0):
    return jax.random.key(seed)


@pytest.mark.parametrize(
    ("x", "y"), [(0.0, 0.0), (np.e - 1, 1.0), (1 - np.e, -1.0), (np.e**3 - 1, 3.0)], ids=["0", "e-1", "1-e", "e^3-1"]
)
def test_symlog_at_known_points(x, y):
    np.testing.assert_allclose(nets.symlog(jnp.float32(x)), y, rtol=1e-6)
    np.testing.assert_allclose(nets.symexp(jnp.float32(y)), x, rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e6, 1e6, width=32))
def test_symexp_undoes_symlog(x):
    np.testing.assert_allclose(nets.symexp(nets.symlog(jnp.float32(x))), x, rtol=1e-5, atol=1e-30)


def test_rms_norm_divides_by_the_root_mean_square():
    x = np.array([[3.0, 4.0], [0.03, 0.04]], np.float32)
    y = nets.RMSNorm().apply({"params": {"scale": jnp.array([1.0, 10.0])}}, x)
    # mean squares 12.5 and 0.00125; Dreamer's epsilon is 1e-4, which shows in the small row
    expected = x / np.sqrt(np.array([[12.5], [0.00125]]) + 1e-4) * [1, 10]
    np.testing.assert_allclose(y, expected, rtol=1e-5)


def test_rms_norm_by_blocks_is_that_of_the_blocks_side_by_side():
    x = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32)
    params = {"params": {"scale": jnp.arange(1.0, 7)}}
    side_by_side = nets.RMSNorm().apply(params, x.swapaxes(0, 1).reshape(5, 6))
    by_blocks = nets.RMSNorm(by_blocks=True).apply(params, x)
    np.testing.assert_allclose(by_blocks.swapaxes(0, 1).reshape(5, 6), side_by_side, rtol=1e-6)


def test_block_dense_is_one_matrix_for_each_block():
    """Of its own input, then of what all blocks share."""
    layer = nets.BlockDense(4)
    rng = np.random.default_rng(0)
    x, shared = (rng.normal(size=shape).astype(np.float32) for shape in ((3, 5, 2), (5, 6)))
    params = random_params(layer.init, x, shared)["params"]
    y = jax.jit(layer.apply)({"params": params}, x, shared)
    for block in range(3):
        inputs = np.concatenate([x[block], shared], -1)
        expected = inputs @ np.asarray(params["kernel"][block]) + np.asarray(params["bias"][block])
        np.testing.assert_allclose(y[block], expected, rtol=1e-5, atol=1e-6)
    assert params["kernel"].shape == (3, 8, 4)


@pytest.mark.parametrize(
    ("layer", "shape", "fan_in", "scale"),
    [
        (nets.Dense(400), (1, 400), 400, 1.0),
        (nets.Dense(400, scale=0.01), (1, 400), 400, 0.01),
        (nets.BlockDense(200), (8, 1, 100), 800, 1.0),  # the fan-in is that of all blocks together
    ],
    ids=["dense", "dense_0.01", "block"],
)
def test_kernels_begin_as_truncated_normals_of_variance_scale_squared_over_fan_in(layer, shape, fan_in, scale):
    kernel = jax.tree.leaves(nn_kernels(jax.jit(layer.init)(key(), jnp.zeros(shape))["params"]))[0]
    deviation = scale / np.sqrt(fan_in)
    np.testing.assert_allclose(np.std(kernel), deviation, rtol=0.03)
    # cut at two deviations of the untruncated normal, which is 1 / 0.8796 wider
    assert np.max(np.abs(kernel)) <= 2 * deviation / 0.8796 * 1.001


def nn_kernels(params):
    return {name: nn_kernels(value) for name, value in params.items() if isinstance(value, dict)} or params["kernel"]


def test_scale_zero_begins_at_zero():
    params = jax.jit(nets.MLP(1, 8, 3, 0.0).init)(key(), jnp.ones((4, 5)))["params"]
    assert np.all(params["Dense_0"]["dense"]["kernel"] == 0)
    assert np.all(params["Layer_0"]["Dense_0"]["dense"]["kernel"] != 0)


@pytest.mark.parametrize("norm", ["rms", "none"])
def test_mlp_is_dense_norm_act_then_dense(norm):
    layer = nets.MLP(2, 8, 3, act="tanh", norm=norm)
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    params = random_params(layer.init, x)["params"]
    expected = x
    for i in range(2):
        dense = params[f"Layer_{i}"]["Dense_0"]["dense"]
        expected = expected @ dense["kernel"] + dense["bias"]
        if norm == "rms":
            expected /= np.sqrt(np.mean(expected**2, -1, keepdims=True) + 1e-4)
            expected *= params[f"Layer_{i}"]["NormAct_0"]["RMSNorm_0"]["scale"]
        expected = np.tanh(expected)
    expected = expected @ params["Dense_0"]["dense"]["kernel"] + params["Dense_0"]["dense"]["bias"]
    np.testing.assert_allclose(jax.jit(layer.apply)({"params": params}, x), expected, rtol=1e-4, atol=1e-5)


def test_bfloat16_computes_in_bfloat16_with_float32_parameters():
    layer = nets.MLP(1, 8, 3, dtype=jnp.bfloat16)
    params = jax.eval_shape(layer.init, key(), jnp.zeros((1, 5)))
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert jax.eval_shape(layer.apply, params, jnp.zeros((1, 5))).dtype == jnp.bfloat16


def test_names_that_meet_are_numbered_and_others_stay() -> None:
    assert nets.module_names(["b", "camera/left", "a_b"]) == {"b": "b", "camera/left": "camera_left", "a_b": "a_b"}
    assert nets.module_names(["a/b", "a_b"]) == {"a_b": "a_b", "a/b": "a_b_2"}
    many = ["a/b/c", "a_b/c", "a/b_c", "a_b_c", "a_b_c_2"]
    found = nets.module_names(many)
    assert len(set(found.values())) == 5 and found["a_b_c"] == "a_b_c" and found["a_b_c_2"] == "a_b_c_2"
    assert nets.module_names(list(reversed(many))) == found
