"""Observations out: from features to the parameters of each observation's distribution."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from dreamjax.config import ModelConfig
from dreamjax.models.encoders import conv_layers
from dreamjax.models.nets import MLP, Dense, Dtype, NormAct, kernel_init, module_names
from dreamjax.models.pooled_images import PooledDecoder
from dreamjax.types import ObsSpec


def prediction_shape(entry: ObsSpec) -> tuple[int, ...]:
    """Shape of the prediction of one entry: that of the *preprocessed* observation."""
    if entry.kind == "grid" and entry.classes > 2:
        channels, height, width = entry.shape
        return (channels * entry.classes, height, width)
    if entry.kind == "discrete":
        return (entry.size * entry.classes,)
    return entry.shape


class ImageDeconv(nn.Module):
    """Mirror of ``ImageConv``: transposed convolutions, cropped on the way to the sizes that the encoder passed."""

    shape: tuple[int, ...]
    config: ModelConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, feat: jax.Array) -> jax.Array:
        height, width, channels = self.shape
        layers = conv_layers(height, width)
        sizes = [(height, width)]
        for _ in range(layers):
            sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        lead = feat.shape[:-1]
        low_h, low_w = sizes[-1]
        depth = self.config.conv_depth * layers
        x = Dense(low_h * low_w * depth, dtype=self.dtype)(feat.astype(self.dtype))
        x = NormAct(self.config.act, self.config.norm, self.dtype)(x.reshape(-1, low_h, low_w, depth))
        for i in reversed(range(layers)):
            last = i == 0
            depth = channels if last else self.config.conv_depth * i
            x = nn.ConvTranspose(depth, (5, 5), (2, 2), padding="SAME", kernel_init=kernel_init(), dtype=self.dtype)(x)
            x = x[:, : sizes[i][0], : sizes[i][1]]
            if not last:
                x = NormAct(self.config.act, self.config.norm, self.dtype)(x)
        return jax.nn.sigmoid(x.astype(jnp.float32)).reshape(*lead, *self.shape)


class Decoder(nn.Module):
    """Features ``[..., F]`` to ``{name: [..., prediction_shape]}`` float32.

    Logits for grids, discretes and masks; means in [0, 1] for images; means (in symlog space where configured) for
    vectors.
    """

    spec: Mapping[str, ObsSpec]
    config: ModelConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, feat: jax.Array) -> dict[str, jax.Array]:
        config, result = self.config, {}
        lead = feat.shape[:-1]
        flat = sorted(name for name, entry in self.spec.items() if entry.kind != "image")
        if flat:
            hidden = MLP(config.layers, config.units, act=config.act, norm=config.norm, dtype=self.dtype, name="mlp")(
                feat
            )
            names = module_names(flat)
            for name in flat:
                shape = prediction_shape(self.spec[name])
                size = 1
                for side in shape:
                    size *= side
                out = Dense(size, dtype=self.dtype, name=f"out_{names[name]}")(hidden)
                result[name] = out.astype(jnp.float32).reshape(*lead, *shape)
        images = sorted(set(self.spec) - set(flat))
        if images and config.image_conv == "pooled":
            shapes = [self.spec[name].shape for name in images]
            shape = (*shapes[0][:2], sum(shape[2] for shape in shapes))
            together = PooledDecoder(shape, config, self.dtype, name="images")(feat)
            ends = list(itertools.accumulate(shape[2] for shape in shapes))
            return result | dict(zip(images, jnp.split(together, ends[:-1], -1), strict=True))
        names = module_names(images)
        for name in images:
            shape = self.spec[name].shape
            result[name] = ImageDeconv(shape, config, self.dtype, name=f"image_{names[name]}")(feat)
        return result
