"""The world model: encoder, RSSM, decoder, reward and continue heads, as one bundle of pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dreamjax.config import ModelConfig
from dreamjax.models import latents
from dreamjax.models.decoders import Decoder
from dreamjax.models.encoders import Encoder, zero_inputs
from dreamjax.models.fast.rssm import rssm_fast_path
from dreamjax.models.grid.model import make_grid_model
from dreamjax.models.nets import MLP, Dtype
from dreamjax.models.pooled_images import check_images
from dreamjax.models.rssm import RSSM, reset_where
from dreamjax.types import MASK_KEY, EnvSpec, Params, RSSMState, Tensors, WorldModel

# The published code has the posterior's first layer as one kernel over [deter, tokens].
POSTERIOR_TENSORS = Tensors(
    joined=((("rssm", "post_deter", "dense", "kernel"), ("rssm", "post_embed", "dense", "kernel")),)
)


class VectorWorldModel(nn.Module):
    """The plan's five parts: representation (encoder, posterior), transition, observation, reward, continue.

    ``tokens``: width of the encoder's output (``encoder_width``).
    """

    config: ModelConfig
    spec: EnvSpec
    tokens: int
    dtype: Dtype

    def setup(self) -> None:
        model = self.config
        self.encoder = Encoder(self.spec.obs, model, self.dtype)
        self.rssm = RSSM(model, self.tokens, self.dtype)
        self.decoder = Decoder({k: v for k, v in self.spec.obs.items() if v.kind != "mask"}, model, self.dtype)
        net = dict(act=model.act, norm=model.norm, dtype=self.dtype)
        bins = model.bins if model.reward_head == "twohot" else 1
        # Outputs are zero at initialization: an untrained two-hot head would predict e^20 (contract 14).
        self.reward_head = MLP(model.head_layers, model.units, bins, 0.0, **net)
        self.cont_head = MLP(model.head_layers, model.units, 1, **net)
        if MASK_KEY in self.spec.obs:
            self.mask_head = MLP(model.layers, model.units, self.spec.obs[MASK_KEY].size, **net)

    def embed(self, obs: Mapping[str, jax.Array]) -> jax.Array:
        return self.rssm.embed(self.encoder(obs))

    def transition(self, state: RSSMState, action: jax.Array) -> jax.Array:
        return self.rssm.transition(state, action)

    def prior_logit(self, deter: jax.Array) -> jax.Array:
        return self.rssm.prior_logit(deter)

    def post_logit(self, deter: jax.Array, embed: jax.Array) -> jax.Array:
        return self.rssm.post_logit(deter, embed)

    def decode(self, feat: jax.Array) -> dict[str, jax.Array]:
        return self.decoder(feat)

    def reward(self, feat: jax.Array) -> jax.Array:
        return self.reward_head(feat).astype(jnp.float32)

    def cont(self, feat: jax.Array) -> jax.Array:
        return self.cont_head(feat).astype(jnp.float32)[..., 0]

    def mask(self, feat: jax.Array) -> jax.Array:
        return self.mask_head(feat).astype(jnp.float32)

    def init_all(self, obs: Mapping[str, jax.Array], state: RSSMState, action: jax.Array) -> None:
        """Calls every part once, so that ``init`` makes all parameters."""
        deter = self.transition(state, action)
        self.post_logit(deter, self.embed(obs))
        self.prior_logit(deter)
        feat = jnp.concatenate([deter, state.stoch.reshape(*deter.shape[:-1], -1)], -1)
        self.decode(feat), self.reward(feat), self.cont(feat)
        if MASK_KEY in self.spec.obs:
            self.mask(feat)


def make_world_model(model: ModelConfig, spec: EnvSpec, *, dtype: Dtype = jnp.float32) -> WorldModel:
    """The world model that ``model.kind`` names, for observations and actions of ``spec``.

    States are in ``dtype``, which is also that of the computation; logits are float32.
    """
    return (make_grid_model if model.kind == "grid" else make_vector_model)(model, spec, dtype=jnp.dtype(dtype))


def encoder_width(model: ModelConfig, spec: EnvSpec) -> int:
    """Width E of the encoder's output."""
    obs, _ = zero_inputs(spec)
    tokens, _ = jax.eval_shape(Encoder(spec.obs, model, jnp.float32).init_with_output, jax.random.key(0), obs)
    return tokens.shape[-1]


def make_vector_model(model: ModelConfig, spec: EnvSpec, *, dtype: Dtype) -> WorldModel:
    """The RSSM of PlaNet and Dreamer: one vector of latents, for any observation.

    Raises:
        ConfigError: images do not fit ``model.image_conv``.
    """
    check_images(spec.obs, model)
    kind = model.latent
    module = VectorWorldModel(model, spec, encoder_width(model, spec), dtype)
    classes = model.classes if kind == "categorical" else 1

    def initial(batch_size: int) -> RSSMState:
        return RSSMState(
            deter=jnp.zeros((batch_size, model.deter), dtype),
            stoch=jnp.zeros((batch_size, model.stoch, classes), dtype),
        )

    def init(key: jax.Array) -> Params:
        obs, action = zero_inputs(spec)
        return module.init(key, obs, initial(1), action, method="init_all")["params"]

    def call(method: str, params: Params, *args: object) -> Any:
        return module.apply({"params": params}, *args, method=method)

    def observe(
        params: Params,
        state: RSSMState,
        action: jax.Array,
        embed: jax.Array,
        is_first: jax.Array,
        keys: jax.Array,
    ) -> tuple[RSSMState, jax.Array]:
        state, action = reset_where(is_first, state, action)
        deter = call("transition", params, state, action)
        logit = call("post_logit", params, deter, embed)
        return RSSMState(deter, latents.sample(logit, keys, kind).astype(dtype)), logit

    def imagine(params: Params, state: RSSMState, action: jax.Array, keys: jax.Array) -> tuple[RSSMState, jax.Array]:
        deter = call("transition", params, state, action)
        logit = call("prior_logit", params, deter)
        return RSSMState(deter, latents.sample(logit, keys, kind).astype(dtype)), logit

    def feat(state: RSSMState) -> jax.Array:
        return jnp.concatenate([state.deter, state.stoch.reshape(*state.deter.shape[:-1], -1)], -1)

    return WorldModel(
        init=init,
        initial=initial,
        embed=lambda params, obs: call("embed", params, obs),
        observe=observe,
        imagine=imagine,
        prior_logit=lambda params, deter: call("prior_logit", params, deter),
        kl=lambda left, right: latents.kl(left, right, kind),
        entropy=lambda logit: latents.entropy(logit, kind),
        feat=feat,
        decode=lambda params, feat: call("decode", params, feat),
        predict=lambda params, previous, action, state: call("decode", params, feat(state)),
        reward=lambda params, feat: call("reward", params, feat),
        cont=lambda params, feat: call("cont", params, feat),
        mask=(lambda params, feat: call("mask", params, feat)) if MASK_KEY in spec.obs else None,
        feat_size=model.deter + model.stoch * classes,
        tensors=POSTERIOR_TENSORS,
        fast=rssm_fast_path(model, dtype),
    )
