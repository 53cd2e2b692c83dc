"""Decoders: one prediction for each entry, in the shape of the preprocessed observation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.models import decoders
from dreamjax.models.encoders import preprocess
from dreamjax.types import ObsSpec
from tests.helpers.parameters import random_params

SPEC = {
    "board": ObsSpec("grid", (1, 6, 4), "uint8", 2),
    "cells": ObsSpec("grid", (2, 5, 3), "int8", 4),
    "image": ObsSpec("image", (9, 7, 3), "uint8"),
    "kind": ObsSpec("discrete", (2,), "int32", 5),
    "number": ObsSpec("vector", (), "float32"),
    "vector": ObsSpec("vector", (4,), "float32"),
}


@pytest.mark.parametrize("lead", [(2,), (2, 3)])
def test_predictions_have_the_shape_of_what_they_predict(tiny_config, lead):
    decoder = decoders.Decoder(SPEC, tiny_config.model, jnp.float32)
    feat = np.random.default_rng(0).normal(size=(*lead, 7)).astype(np.float32)
    predictions = jax.jit(decoder.apply)(random_params(decoder.init, feat), feat)
    obs = {name: np.zeros((*lead, *entry.shape), entry.dtype) for name, entry in SPEC.items()}
    shapes = {name: x.shape for name, x in jax.eval_shape(lambda obs: preprocess(SPEC, obs), obs).items()}
    assert {name: x.shape for name, x in predictions.items()} == shapes
    assert {x.dtype for x in predictions.values()} == {jnp.dtype("float32")}
    assert np.all((predictions["image"] > 0) & (predictions["image"] < 1))
    for name, x in predictions.items():
        flat = np.asarray(x).reshape(int(np.prod(lead)), -1)
        assert len(np.unique(flat, axis=0)) == len(flat), f"{name} does not depend on the features"


@pytest.mark.parametrize("size", [(3, 3, 1), (8, 8, 3), (17, 5, 2), (64, 48, 3)])
def test_images_of_any_size(tiny_config, size):
    config = dataclasses.replace(tiny_config.model, conv_depth=1)
    decoder = decoders.ImageDeconv(size, config, jnp.float32)
    shapes = jax.eval_shape(lambda key: decoder.init_with_output(key, jnp.zeros((2, 7))), jax.random.key(0))
    assert shapes[0].shape == (2, *size)
