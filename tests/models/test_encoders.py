"""Preprocessing (one function for acting and training) and encoders for every kind of observation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.models import encoders
from dreamjax.types import ObsSpec
from tests.helpers.parameters import random_params

SPEC = {
    "action_mask": ObsSpec("mask", (3,), "int8"),
    "board": ObsSpec("grid", (1, 6, 4), "uint8", 2),
    "cells": ObsSpec("grid", (2, 5, 3), "int8", 4),
    "image": ObsSpec("image", (9, 7, 3), "uint8"),
    "kind": ObsSpec("discrete", (2,), "int32", 5),
    "number": ObsSpec("vector", (), "float64"),
    "vector": ObsSpec("vector", (4,), "float32"),
}


def random_obs(lead, seed=0):
    rng = np.random.default_rng(seed)
    high = {"image": 256, "mask": 2}
    return {
        name: (
            rng.normal(size=(*lead, *entry.shape))
            if entry.kind == "vector"
            else rng.integers(0, high.get(entry.kind, entry.classes), (*lead, *entry.shape))
        ).astype(entry.dtype)
        for name, entry in SPEC.items()
    }


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_preprocess_by_kind(lead):
    """Contract 4."""
    obs = random_obs(lead)
    got = jax.jit(lambda obs: encoders.preprocess(SPEC, obs))(obs)
    assert {x.dtype for x in got.values()} == {jnp.dtype("float32")}
    np.testing.assert_array_equal(got["action_mask"], obs["action_mask"])
    np.testing.assert_array_equal(got["board"], obs["board"])
    np.testing.assert_allclose(got["image"], obs["image"] / 255, rtol=1e-6)
    np.testing.assert_allclose(got["number"], obs["number"], rtol=1e-6)
    np.testing.assert_array_equal(got["vector"], obs["vector"])
    cells = np.stack([obs["cells"] == k for k in range(4)], -3)  # [..., C, classes, H, W]
    np.testing.assert_array_equal(got["cells"], cells.reshape(*lead, 8, 5, 3))
    np.testing.assert_array_equal(got["kind"], np.eye(5)[obs["kind"]].reshape(*lead, 10))


def test_bytes_in_equal_floats_in():
    """Contract 4: an image of bytes is scaled once, one of floats is left alone."""
    spec = {"image": ObsSpec("image", (2, 2, 3), "uint8")}
    floats = {"image": dataclasses.replace(spec["image"], dtype="float32")}
    image = np.random.default_rng(0).integers(0, 256, (5, 2, 2, 3)).astype(np.uint8)
    left = encoders.preprocess(spec, {"image": image})["image"]
    right = encoders.preprocess(floats, {"image": (image / 255).astype(np.float32)})["image"]
    np.testing.assert_allclose(left, right, rtol=1e-6)
    assert 0 <= np.min(left) < np.max(left) <= 1


@pytest.mark.parametrize(("size", "bins"), [(20, 4), (10, 2), (7, 4), (5, 2), (3, 3)])
def test_adaptive_pooling(size, bins):
    x = np.random.default_rng(0).normal(size=size)
    expected = [np.mean(x[int(np.floor(i * size / bins)) : int(np.ceil((i + 1) * size / bins))]) for i in range(bins)]
    np.testing.assert_allclose(encoders.adaptive_pool_matrix(size, bins) @ x, expected, rtol=1e-5)


@pytest.mark.parametrize(("side", "layers"), [(3, 1), (4, 1), (5, 1), (8, 1), (9, 2), (16, 2), (64, 4), (500, 4)])
def test_images_are_halved_down_to_three_or_four_pixels(side, layers):
    assert encoders.conv_layers(side, 2 * side) == encoders.conv_layers(2 * side, side) == layers


def make_encoder(config, obs, spec=SPEC):
    """The encoder as a function, its parameters and the preprocessed observation."""
    encoder = encoders.Encoder(spec, config, jnp.float32)
    processed = encoders.preprocess(spec, obs)
    return jax.jit(encoder.apply), random_params(encoder.init, processed), processed


@pytest.mark.parametrize("grid_encoder", ["dense", "conv"])
def test_every_entry_but_the_mask_reaches_the_embedding(tiny_config, grid_encoder):
    """The mask says what is legal; it is not encoded."""
    config = dataclasses.replace(tiny_config.model, grid_encoder=grid_encoder)
    encoder, params, obs = make_encoder(config, random_obs((1,)))
    grads = jax.jit(jax.grad(lambda obs: jnp.sum(jnp.square(encoder(params, obs)))))(obs)
    reached = {name: bool(np.any(grad != 0)) for name, grad in grads.items()}
    assert reached == {name: name != "action_mask" for name in SPEC}
    board = np.asarray(grads["board"])
    assert np.all(np.any(board != 0, (0, 1))), "some cells are never read"


def test_leading_dimensions_are_free(tiny_config):
    encoder, params, obs = make_encoder(tiny_config.model, random_obs((2, 3)))
    flat = jax.tree.map(lambda x: x.reshape(6, *x.shape[2:]), obs)
    expected = np.asarray(encoder(params, obs)).reshape(6, -1)
    np.testing.assert_allclose(encoder(params, flat), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("symlog", "x", "same_as"), [(True, np.e - 1, 1.0), (False, 1.0, 1.0)])
def test_vectors_are_read_in_symlog_space_where_configured(tiny_config, symlog, x, same_as):
    spec = {"v": ObsSpec("vector", (1,), "float32")}
    config = dataclasses.replace(tiny_config.model, symlog=symlog)
    encoder, params, obs = make_encoder(config, {"v": np.full((1, 1), x, np.float32)}, spec)
    plain = encoders.Encoder(spec, dataclasses.replace(config, symlog=False), jnp.float32)
    expected = jax.jit(plain.apply)(params, {"v": jnp.full((1, 1), same_as)})
    np.testing.assert_allclose(encoder(params, obs), expected, rtol=1e-5)


@pytest.mark.parametrize("grid_encoder", ["dense", "conv"])
@pytest.mark.parametrize("shape", [(1, 20, 10), (3, 2, 1), (2, 7, 5)])
def test_boards_of_any_size(tiny_config, grid_encoder, shape):
    spec = {"board": ObsSpec("grid", shape, "uint8", 2)}
    config = dataclasses.replace(tiny_config.model, grid_encoder=grid_encoder)
    encoder = encoders.Encoder(spec, config, jnp.float32)
    init = lambda key: encoder.init_with_output(key, {"board": jnp.ones((2, *shape))})[0]
    assert jax.eval_shape(init, jax.random.key(0)).shape == (2, config.units)
