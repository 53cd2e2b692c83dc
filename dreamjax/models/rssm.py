"""The recurrent state-space model with a vector state: transition, prior and posterior, one step each.

PlaNet (Hafner et al. 2019, eq. 4), with the block GRU and categorical latents of DreamerV3 (Nature 2025) or the dense
GRU and Gaussian latents of the plan.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from dreamjax.config import ModelConfig
from dreamjax.models import latents
from dreamjax.models.nets import BlockDense, Dense, Dtype, Layer, NormAct
from dreamjax.types import RSSMState


class BlockGRU(nn.Module):
    """A GRU whose recurrent kernels are block-diagonal; every block reads all inputs; all arguments are ``[N, ...]``.

    ``reset, candidate, update = gates(layer([deter_block, inputs]))``;
    ``deter' = sigma(update - 1) tanh(sigma(reset) candidate) + (1 - sigma(update - 1)) deter``.
    """

    config: ModelConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, deter: jax.Array, stoch: jax.Array, action: jax.Array) -> jax.Array:
        config = self.config
        inputs = [
            Layer(config.hidden, config.act, config.norm, self.dtype, name=name)(x)
            for name, x in (("in_deter", deter), ("in_stoch", stoch), ("in_action", action))
        ]
        joint = jnp.concatenate(inputs, -1)
        rows, size = deter.shape[0], config.deter // config.blocks
        blocks = jnp.swapaxes(deter.reshape(rows, config.blocks, size), 0, 1)
        x = BlockDense(size, self.dtype, name="hidden")(blocks, joint)
        x = NormAct(config.act, config.norm, self.dtype, by_blocks=True, name="hidden_norm")(x)
        gates = BlockDense(3 * size, self.dtype, name="gates")(x)
        following = _gated(blocks, *jnp.split(gates, 3, -1))
        # Blocks are joined by concatenation: if XLA fuses a transpose into the gates, CPUs compute them element by element.
        return jnp.concatenate([block[0] for block in jnp.split(following, config.blocks, 0)], -1)


class DenseGRU(nn.Module):
    """The plan's transition: one layer over (latent, action), then a GRU cell (Cho et al. 2014) with update bias -1."""

    config: ModelConfig
    dtype: Dtype

    @nn.compact
    def __call__(self, deter: jax.Array, stoch: jax.Array, action: jax.Array) -> jax.Array:
        config = self.config
        x = Layer(config.hidden, config.act, config.norm, self.dtype, name="in")(jnp.concatenate([stoch, action], -1))
        gates = Dense(3 * config.deter, dtype=self.dtype, name="gates")(jnp.concatenate([x, deter], -1))
        return _gated(deter, *jnp.split(gates, 3, -1))


def _gated(deter: jax.Array, reset: jax.Array, candidate: jax.Array, update: jax.Array) -> jax.Array:
    """``sigma(update - 1) tanh(sigma(reset) candidate) + (1 - sigma(update - 1)) deter``: -1 keeps by default."""
    update = jax.nn.sigmoid(update - 1)
    return update * jnp.tanh(jax.nn.sigmoid(reset) * candidate) + (1 - update) * deter


class RSSM(nn.Module):
    """Transition, prior and posterior of ``RSSMState(deter [..., D], stoch [..., S, K])``.

    ``tokens``: width E of the encoder's output.
    """

    config: ModelConfig
    tokens: int
    dtype: Dtype

    def setup(self) -> None:
        config = self.config
        cell = BlockGRU if config.cell == "block_gru" else DenseGRU
        self.cell = cell(config, self.dtype)
        size = config.stoch * (config.classes if config.latent == "categorical" else 2)
        layer = dict(act=config.act, norm=config.norm, dtype=self.dtype)
        self.prior_hidden = [Layer(config.hidden, **layer) for _ in range(config.prior_layers)]
        self.prior_out = Dense(size, dtype=self.dtype)
        # The posterior's first layer reads [deter, embed]; its embed half is computed for a whole window at once.
        joint = dict(fan_in=config.deter + self.tokens, dtype=self.dtype)
        self.post_embed = Dense(config.hidden, use_bias=False, **joint)
        self.post_deter = Dense(config.hidden, **joint)
        self.post_norm = NormAct(**layer)
        self.post_hidden = [Layer(config.hidden, **layer) for _ in range(config.posterior_layers - 1)]
        self.post_out = Dense(size, dtype=self.dtype)

    def embed(self, tokens: jax.Array) -> jax.Array:
        """The part of the posterior's first layer that depends on the observation alone: ``[..., hidden]``."""
        return self.post_embed(tokens)

    def transition(self, state: RSSMState, action: jax.Array) -> jax.Array:
        """``deter[t]`` from the state at ``t - 1`` and the action vector chosen there: ``[..., D]``."""
        stoch = state.stoch.reshape(*state.stoch.shape[:-2], -1).astype(self.dtype)
        # Continuous actions are unbounded samples: scale large ones to length one per dimension.
        action = action / jax.lax.stop_gradient(jnp.maximum(1.0, jnp.abs(action)))
        return self.cell(state.deter.astype(self.dtype), stoch, action.astype(self.dtype))

    def prior_logit(self, deter: jax.Array) -> jax.Array:
        """Parameters of ``p(z | h)``: float32 ``[..., S, K or 2]``."""
        x = deter
        for layer in self.prior_hidden:
            x = layer(x)
        return self._logit(self.prior_out(x))

    def post_logit(self, deter: jax.Array, embed: jax.Array) -> jax.Array:
        """Parameters of ``q(z | h, o)``: float32 ``[..., S, K or 2]``."""
        x = self.post_norm(self.post_deter(deter) + embed)
        for layer in self.post_hidden:
            x = layer(x)
        return self._logit(self.post_out(x))

    def _logit(self, raw: jax.Array) -> jax.Array:
        config = self.config
        if config.latent == "gaussian":
            return latents.gaussian_logit(raw, config.min_std)
        shaped = raw.reshape(*raw.shape[:-1], config.stoch, config.classes)
        return latents.unimix_logit(shaped, config.unimix)


def reset_where(is_first: jax.Array, state: RSSMState, action: jax.Array) -> tuple[RSSMState, jax.Array]:
    """State and previous action with the rows of ``is_first`` ``[B]`` set to zero; other rows are untouched."""

    def clear(x: jax.Array) -> jax.Array:
        first = is_first.reshape(is_first.shape + (1,) * (x.ndim - is_first.ndim))
        return jnp.where(first, jnp.zeros_like(x), x)

    return jax.tree.map(clear, (state, action))
