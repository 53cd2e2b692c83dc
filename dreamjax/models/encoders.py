"""Observations in: preprocessing (one function for acting and training) and encoders."""

from __future__ import annotations

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.config import ModelConfig
from dreamjax.models.nets import MLP, Dense, Dtype, NormAct, kernel_init, module_names, symlog
from dreamjax.models.pooled_images import PooledEncoder
from dreamjax.types import EnvSpec, ObsSpec

CONV_LAYERS = 4  # strided convolutions of an image encoder
POOLED = (4, 2)  # the plan's adaptive pooling of a board


def preprocess(spec: Mapping[str, ObsSpec], obs: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Records to floats; the same for acting and training, and the target of reconstruction.

    By kind, with any leading dimensions: "vector" float32 as it is; "grid" ``(C, H, W)`` of 2 classes to floats 0 or 1,
    of more to one-hot ``(C * classes, H, W)``; "image" uint8 to [0, 1]; "discrete" ``(n,)`` to one-hot
    ``(n * classes,)``; "mask" to 0 or 1.
    """
    result = {}
    for name, entry in spec.items():
        x = jnp.asarray(obs[name])
        lead = x.shape[: x.ndim - len(entry.shape)]
        if entry.kind == "image":
            x = x.astype(jnp.float32) / 255 if entry.dtype == "uint8" else x.astype(jnp.float32)
        elif entry.kind == "grid" and entry.classes > 2:
            channels, height, width = entry.shape
            hot = jax.nn.one_hot(x.astype(jnp.int32), entry.classes, axis=-3)
            x = hot.reshape(*lead, channels * entry.classes, height, width)
        elif entry.kind == "discrete":
            x = jax.nn.one_hot(x.astype(jnp.int32), entry.classes).reshape(*lead, entry.size * entry.classes)
        else:
            x = x.astype(jnp.float32).reshape(*lead, *entry.shape)
        result[name] = x
    return result


def zero_inputs(spec: EnvSpec) -> tuple[dict[str, jax.Array], jax.Array]:
    """A preprocessed observation and an action vector of one row, all zeros, for a world model's initialization."""
    obs = {name: jnp.zeros((1, *entry.shape), entry.dtype) for name, entry in spec.obs.items()}
    return preprocess(spec.obs, obs), jnp.zeros((1, spec.action.vector_size))


def adaptive_pool_matrix(size: int, bins: int) -> np.ndarray:
    """``[bins, size]``: row ``i`` averages cells ``floor(i size / bins)`` to ``ceil((i + 1) size / bins)``."""
    matrix = np.zeros((bins, size), np.float32)
    for i in range(bins):
        start, stop = (i * size) // bins, -((-(i + 1) * size) // bins)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix


class GridConv(nn.Module):
    """The plan's TetrisEncoder: three 3x3 convolutions (depth, 2 depth, 4 depth), pooled to 4 x 2, flattened."""

    config: ModelConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        *lead, channels, height, width = x.shape
        x = jnp.moveaxis(x.reshape(-1, channels, height, width), 1, -1).astype(self.dtype)
        for i in range(3):
            depth = self.config.conv_depth * 2**i
            x = nn.Conv(depth, (3, 3), padding="SAME", kernel_init=kernel_init(), dtype=self.dtype)(x)
            x = NormAct(self.config.act, self.config.norm, self.dtype)(x)
        rows = jnp.asarray(adaptive_pool_matrix(height, min(POOLED[0], height)), self.dtype)
        columns = jnp.asarray(adaptive_pool_matrix(width, min(POOLED[1], width)), self.dtype)
        x = jnp.einsum("nhwc,ph,qw->npqc", x, rows, columns)
        return x.reshape(*lead, -1)


class GridDense(nn.Module):
    """A board by matrix products: raw cells, and bands of four rows, two rows apart, through one shared layer.

    On CPUs small convolutions at full resolution run at a tenth of the speed of matrix products.
    """

    config: ModelConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        *lead, channels, height, width = x.shape
        x = x.astype(self.dtype)
        flat = x.reshape(*lead, channels * height * width)
        band = min(4, height)
        starts = range(0, height - band + 1, 2)
        bands = jnp.stack([x[..., i : i + band, :].reshape(*lead, channels * band * width) for i in starts], -2)
        bands = Dense(max(self.config.units // 4, 8), dtype=self.dtype)(bands)
        bands = NormAct(self.config.act, self.config.norm, self.dtype)(bands)
        return jnp.concatenate([flat, bands.reshape(*lead, -1)], -1)


class ImageConv(nn.Module):
    """An image ``(H, W, C)`` of any size by strided convolutions of depth ``1, 2, 3, 4`` x ``conv_depth``, flattened."""

    config: ModelConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        *lead, height, width, channels = x.shape
        x = (x.reshape(-1, height, width, channels) - 0.5).astype(self.dtype)
        for i in range(conv_layers(height, width)):
            depth = self.config.conv_depth * (i + 1)
            x = nn.Conv(depth, (5, 5), (2, 2), padding="SAME", kernel_init=kernel_init(), dtype=self.dtype)(x)
            x = NormAct(self.config.act, self.config.norm, self.dtype)(x)
        return x.reshape(*lead, -1)


def conv_layers(height: int, width: int) -> int:
    """How many times an image is halved: until its shorter side would fall below 3 pixels, at most ``CONV_LAYERS``."""
    layers, side = 0, min(height, width)
    while layers < CONV_LAYERS and side > 4:
        side = -(-side // 2)
        layers += 1
    return max(layers, 1)


class Encoder(nn.Module):
    """Preprocessed observations ``{name: [..., shape]}`` to one embedding ``[..., E]``.

    Vectors (in symlog where configured), one-hot discretes and boards enter one MLP; images are encoded by convolutions
    and concatenated: each by its own strided ones, or all as channels of one by pooled ones. Masks are not encoded: the
    rest of the observation implies which actions are legal.
    """

    spec: Mapping[str, ObsSpec]
    config: ModelConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, obs: Mapping[str, jax.Array]) -> jax.Array:
        config = self.config
        flat, images = [], {}
        names = {
            kind: module_names([name for name, entry in self.spec.items() if entry.kind == kind])
            for kind in ("image", "grid")
        }
        for name in sorted(self.spec):
            entry, x = self.spec[name], obs[name]
            lead = x.shape[: x.ndim - (3 if entry.kind in ("grid", "image") else 1)]
            if entry.kind == "image":
                images[f"image_{names['image'][name]}"] = x
            elif entry.kind == "grid":
                grid = GridConv if config.grid_encoder == "conv" else GridDense
                flat.append(grid(config, self.dtype, name=f"grid_{names['grid'][name]}")(x))
            elif entry.kind == "vector":
                lead = x.shape[: x.ndim - len(entry.shape)]
                x = x.reshape(*lead, entry.size)
                flat.append((symlog(x) if config.symlog else x).astype(self.dtype))
            elif entry.kind == "discrete":
                flat.append(x.astype(self.dtype))
        if config.image_conv == "pooled" and images:
            together = jnp.concatenate(list(images.values()), -1)
            outputs = [PooledEncoder(config, self.dtype, name="images")(together)]
        else:
            outputs = [ImageConv(config, self.dtype, name=name)(x) for name, x in images.items()]
        if flat:
            mlp = MLP(config.layers, config.units, act=config.act, norm=config.norm, dtype=self.dtype, name="mlp")
            outputs.append(mlp(jnp.concatenate(flat, -1)))
        return jnp.concatenate(outputs, -1)
