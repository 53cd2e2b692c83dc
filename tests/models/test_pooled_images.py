"""DreamerV3's networks for images, against NumPy and against what they refuse."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.config import ConfigError, ModelConfig
from dreamjax.models import pooled_images
from dreamjax.models.decoders import Decoder
from dreamjax.models.encoders import Encoder
from dreamjax.models.pooled_images import PooledDecoder, PooledEncoder, check_images
from dreamjax.models.world_model import make_world_model
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec
from tests.helpers.arrays import normal, sigmoid
from tests.helpers.parameters import random_params

CONFIG = ModelConfig(deter=6, blocks=2, stoch=4, classes=2, units=4, conv_depth=1, image_conv="pooled")
SHAPE = (32, 16, 3)  # an image that becomes 2 x 1 places
FEAT = 6 + 4 * 2


# The same in NumPy's float64, pixel by pixel.


def norm_act(x, params):
    x = x / np.sqrt(np.mean(np.square(x), -1, keepdims=True) + 1e-4) * params["RMSNorm_0"]["scale"]
    return x * sigmoid(x)


def conv(x, params):
    """5 x 5 pixels around each one of ``[H, W, C]``; outside of the image there are zeros."""
    height, width, _ = x.shape
    padded = np.pad(x, ((2, 2), (2, 2), (0, 0)))
    result = np.zeros((height, width, params["kernel"].shape[-1])) + params["bias"]
    for row in range(5):
        for column in range(5):
            result += padded[row : row + height, column : column + width] @ params["kernel"][row, column]
    return result


def numpy_encoder(x, params):
    x = np.float64(x) - 0.5
    for i in range(4):
        x = conv(x, params[f"Conv_{i}"])
        x = np.maximum(np.maximum(x[::2, ::2], x[1::2, ::2]), np.maximum(x[::2, 1::2], x[1::2, 1::2]))
        x = norm_act(x, params[f"NormAct_{i}"])
    return x.reshape(-1)


def numpy_decoder(feat, params):
    deter, stoch = np.float64(feat[:6]), np.float64(feat[6:])
    dense = lambda x, layer: x @ layer["kernel"] + layer["bias"]
    hidden = norm_act(dense(stoch, params["stoch"]["Dense_0"]["dense"]), params["stoch"]["NormAct_0"])
    x = dense(hidden, params["places"]["dense"]).reshape(2, 1, 4)
    for block in range(2):  # deter's first half gives channels 0 and 1, its second half 2 and 3
        kernel, bias = params["deter"]["kernel"][block], params["deter"]["bias"][block]
        x[..., 2 * block : 2 * block + 2] += (deter[3 * block : 3 * block + 3] @ kernel + bias).reshape(2, 1, 2)
    x = norm_act(x, params["NormAct_0"])
    for i in range(4):
        x = conv(np.kron(x, np.ones((2, 2, 1))), params[f"Conv_{i}"])
        x = norm_act(x, params[f"NormAct_{i + 1}"]) if i < 3 else x
    return sigmoid(x)


def test_the_encoder_is_what_numpy_computes() -> None:
    x = np.random.default_rng(0).uniform(size=(2, 3, *SHAPE)).astype(np.float32)
    encoder = PooledEncoder(CONFIG, jnp.float32)
    params = random_params(encoder.init, x, scale=0.3)
    found = jax.jit(encoder.apply)(params, x)
    expected = [[numpy_encoder(image, params["params"]) for image in row] for row in x]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert found.shape == (2, 3, 2 * 1 * 4)


def test_the_decoder_is_what_numpy_computes() -> None:
    feat = normal(2, 3, FEAT)
    decoder = PooledDecoder(SHAPE, CONFIG, jnp.float32)
    params = random_params(decoder.init, feat, scale=0.3)
    found = jax.jit(decoder.apply)(params, feat)
    expected = [[numpy_decoder(one, params["params"]) for one in row] for row in feat]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert found.shape == (2, 3, *SHAPE)
    assert np.std(found) > 0.1, "too flat to tell anything"


def test_equal_pixels_share_the_gradient_of_pooling() -> None:
    """A flat wall must not teach its upper left pixels alone; so in the published code."""
    grad = jax.grad(lambda x: jnp.sum(pooled_images.max_pool(x)))(jnp.ones((1, 2, 4, 1)))
    np.testing.assert_array_equal(grad, np.full((1, 2, 4, 1), 0.25))


def test_several_images_are_channels_of_one() -> None:
    """In the order of their names, in and out; a vector beside them goes its own way."""
    shapes = {"b": (16, 16, 3), "a": (16, 16, 1)}
    spec = {name: ObsSpec("image", shape, "uint8") for name, shape in shapes.items()}
    spec["v"] = ObsSpec("vector", (2,), "float32")
    obs = {name: np.random.default_rng(0).uniform(size=(2, *entry.shape)) for name, entry in spec.items()}
    encoder, decoder = Encoder(spec, CONFIG, jnp.float32), Decoder(spec, CONFIG, jnp.float32)
    params, feat = random_params(encoder.init, obs), normal(2, FEAT)
    together = np.concatenate([obs["a"], obs["b"]], -1)
    images = PooledEncoder(CONFIG, jnp.float32).apply({"params": params["params"]["images"]}, together)
    np.testing.assert_allclose(encoder.apply(params, obs)[:, :4], images, rtol=1e-5, atol=1e-6)
    params = random_params(decoder.init, feat)
    alone = PooledDecoder((16, 16, 4), CONFIG, jnp.float32).apply({"params": params["params"]["images"]}, feat)
    found = decoder.apply(params, feat)
    np.testing.assert_allclose(np.concatenate([found["a"], found["b"]], -1), alone, rtol=1e-5, atol=1e-6)
    assert {name: x.shape[1:] for name, x in found.items()} == {**shapes, "v": (2,)}


def images(*sizes: tuple[int, int]) -> EnvSpec:
    obs = {f"eye{i}": ObsSpec("image", (*size, 3), "uint8") for i, size in enumerate(sizes)}
    return EnvSpec(obs, ActionSpec((ActionPart("categorical", 2),)))


@pytest.mark.parametrize("size", [(84, 84), (64, 84), (32, 64), (272, 64), (64, 40)])
def test_sides_that_do_not_fit_are_refused_with_the_way_out(size: tuple[int, int]) -> None:
    message = (
        rf"model.image_conv='pooled' is not allowed: 'eye0' is {size[0]} x {size[1]}, sides must be multiples of 16 from "
        r"48 to 256, the same for all images; model.image_conv='strided' takes any"
    )
    with pytest.raises(ConfigError, match=message):
        make_world_model(CONFIG, images(size))
    check_images(images(size).obs, dataclasses.replace(CONFIG, image_conv="strided"))


def test_images_of_two_sizes_are_refused() -> None:
    check_images(images((48, 256), (48, 256)).obs, CONFIG)
    with pytest.raises(ConfigError, match="the same for all images"):
        check_images(images((48, 48), (64, 64)).obs, CONFIG)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("deter", 7, r"model.deter=7 is not allowed: .* it must be a multiple of model.blocks=2"),
        ("blocks", 3, r"model.conv_depth=1 is not allowed: .* 4 times it must be a multiple of model.blocks=3"),
    ],
)
def test_blocks_that_do_not_divide_are_refused_where_there_are_images(field: str, value: int, message: str) -> None:
    config = dataclasses.replace(CONFIG, cell="gru", **{field: value})
    with pytest.raises(ConfigError, match=message):
        check_images(images((64, 64)).obs, config)
    check_images({"v": ObsSpec("vector", (2,), "float32")}, config)
