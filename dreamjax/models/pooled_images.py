"""DreamerV3's networks for images: convolutions with max-pooling on the way in, repeated pixels on the way out.

Those of the published code (danijar/dreamerv3, ``rssm.py``, main of May 2026); ``ImageConv`` and ``ImageDeconv`` are the
strided ones. Several images are channels of one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from dreamjax.config import ConfigError, ModelConfig
from dreamjax.models.nets import BlockDense, Dense, Dtype, Layer, NormAct, kernel_init
from dreamjax.types import ObsSpec

DEPTHS = (2, 3, 4, 4)  # channels of the encoder's convolutions, times ``conv_depth``
HALVED = 2 ** len(DEPTHS)  # pixels on each side that become one place
SIDES = (3 * HALVED, 16 * HALVED)  # the smallest and the greatest side of an image


def check_images(spec: Mapping[str, ObsSpec], config: ModelConfig) -> None:
    """Raises ConfigError if the images of ``spec`` do not fit ``config.image_conv``; any fit ``"strided"``."""
    sizes = {name: entry.shape[:2] for name, entry in sorted(spec.items()) if entry.kind == "image"}
    if config.image_conv != "pooled" or not sizes:
        return
    wanted = f"sides must be multiples of {HALVED} from {SIDES[0]} to {SIDES[1]}, the same for all images"
    for name, size in sizes.items():
        fits = all(side % HALVED == 0 and SIDES[0] <= side <= SIDES[1] for side in size)
        if not fits or len(set(sizes.values())) > 1:
            raise ConfigError(
                f"model.image_conv='pooled' is not allowed: {name!r} is {size[0]} x {size[1]}, {wanted}; "
                "model.image_conv='strided' takes any"
            )
    for field, number in (("deter", config.deter), ("conv_depth", DEPTHS[-1] * config.conv_depth)):
        if number % config.blocks:
            times = number // getattr(config, field)
            raise ConfigError(
                f"model.{field}={getattr(config, field)} is not allowed: with model.image_conv='pooled', "
                f"{'' if times == 1 else f'{times} times '}it must be a multiple of model.blocks={config.blocks}"
            )


def conv(features: int, dtype: Dtype) -> nn.Conv:
    """A convolution of 5 x 5 pixels that keeps the size of the image."""
    return nn.Conv(features, (5, 5), padding="SAME", kernel_init=kernel_init(), dtype=dtype)


def max_pool(x: jax.Array) -> jax.Array:
    """The greatest of each 2 x 2 pixels: ``[N, H, W, C]`` to ``[N, H/2, W/2, C]``. Equal ones share the gradient."""
    count, height, width, channels = x.shape
    return jnp.max(x.reshape(count, height // 2, 2, width // 2, 2, channels), (2, 4))


def repeat(x: jax.Array) -> jax.Array:
    """Each pixel four times: ``[N, H, W, C]`` to ``[N, 2H, 2W, C]``."""
    return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)


class PooledEncoder(nn.Module):
    """Images in [0, 1] ``[..., H, W, C]`` to ``[..., H/16 * W/16 * 4 conv_depth]``; by row, column, channel."""

    config: ModelConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        *lead, height, width, channels = x.shape
        x = (x.reshape(-1, height, width, channels) - 0.5).astype(self.dtype)
        for times in DEPTHS:
            x = max_pool(conv(times * self.config.conv_depth, self.dtype)(x))
            x = NormAct(self.config.act, self.config.norm, self.dtype)(x)
        return x.reshape(*lead, -1)


class PooledDecoder(nn.Module):
    """Features ``[..., deter + stoch]`` to images in [0, 1], float32 ``[..., *shape]``.

    Each of ``blocks`` parts of deter gives its own channels of the smallest image; stoch gives all of them.
    """

    shape: tuple[int, ...]
    config: ModelConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, feat: jax.Array) -> jax.Array:
        config, (height, width, channels) = self.config, self.shape
        lead, blocks = feat.shape[:-1], config.blocks
        low = (height // HALVED, width // HALVED, DEPTHS[-1] * config.conv_depth)
        feat = feat.reshape(-1, feat.shape[-1]).astype(self.dtype)
        deter, stoch = jnp.split(feat, [config.deter], -1)
        deter = jnp.swapaxes(deter.reshape(len(deter), blocks, -1), 0, 1)
        by_block = BlockDense(math.prod(low) // blocks, dtype=self.dtype, name="deter")(deter)
        by_block = jnp.moveaxis(by_block.reshape(blocks, -1, *low[:2], low[2] // blocks), 0, -2)
        hidden = Layer(2 * config.units, config.act, config.norm, self.dtype, name="stoch")(stoch)
        everywhere = Dense(math.prod(low), dtype=self.dtype, name="places")(hidden)
        x = by_block.reshape(-1, *low) + everywhere.reshape(-1, *low)
        x = NormAct(config.act, config.norm, self.dtype)(x)
        for times in reversed(DEPTHS[:-1]):
            x = conv(times * config.conv_depth, self.dtype)(repeat(x))
            x = NormAct(config.act, config.norm, self.dtype)(x)
        x = conv(channels, self.dtype)(repeat(x))
        return jax.nn.sigmoid(x.astype(jnp.float32)).reshape(*lead, *self.shape)
