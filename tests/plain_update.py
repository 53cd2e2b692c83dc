"""The parts of an update that are written for speed, as one would write them down: the reference of the fast ones."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from dreamjax.models.nets import Layer


def norm_act(params: dict, x: jax.Array) -> jax.Array:
    """RMS norm over the last axis, then SiLU."""
    x = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + 1e-4)
    return jax.nn.silu(x * jnp.broadcast_to(params["RMSNorm_0"]["scale"], x.shape))


def block_gru(config, params: dict, deter: jax.Array, stoch: jax.Array, action: jax.Array) -> jax.Array:
    """``models.rssm.BlockGRU`` on its own parameters: batch first, one block after the other, everything in its place."""
    layer = Layer(config.hidden, config.act, config.norm)
    inputs = {"in_deter": deter, "in_stoch": stoch, "in_action": action}
    joint = [layer.apply({"params": params[name]}, x) for name, x in inputs.items()]

    def dense(name: str, blocks: list[jax.Array]) -> list[jax.Array]:
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        return [x @ kernel[g] + jnp.broadcast_to(bias[g], (len(x), bias.shape[-1])) for g, x in enumerate(blocks)]

    blocks = jnp.split(deter, config.blocks, -1)
    hidden = dense("hidden", [jnp.concatenate([block, *joint], -1) for block in blocks])
    hidden = jnp.split(norm_act(params["hidden_norm"], jnp.concatenate(hidden, -1)), config.blocks, -1)
    following = []
    for block, gates in zip(blocks, dense("gates", hidden), strict=True):
        reset, candidate, update = jnp.split(gates, 3, -1)
        update = nn.sigmoid(update - 1)
        following.append(update * jnp.tanh(nn.sigmoid(reset) * candidate) + (1 - update) * block)
    return jnp.concatenate(following, -1)
