"""Actor and critic networks: features to the raw parameters of policies and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.config import ActorConfig, CriticConfig, ModelConfig
from dreamjax.models.ensemble import Ensemble
from dreamjax.models.grid.layers import GridActor, GridTrunk
from dreamjax.models.grid.layout import grid_layout
from dreamjax.models.nets import MLP, Dtype
from dreamjax.types import ONE_TENSOR_EACH, ActionSpec, EnvSpec, Params, Tensors, WorldModel


class Head(NamedTuple):
    """A network as pure functions.

    Attributes:
        init: ``(key, feat_size) -> params``.
        apply: ``(params, feat) -> float32 [..., out]``.
        tensors: what of the parameters counts as one tensor where gradients are clipped.
    """

    init: Callable[[jax.Array, int], Params]
    apply: Callable[[Params, jax.Array], jax.Array]
    tensors: Tensors = ONE_TENSOR_EACH


class Networks(NamedTuple):
    """The functions an update works on."""

    world_model: WorldModel
    actor: Head
    critic: Head
    ensemble: Ensemble | None = None


def make_actor(actor: ActorConfig, model: ModelConfig, env: EnvSpec, *, dtype: Dtype = jnp.float32) -> Head:
    """The policy network, raw outputs ``[..., P]``; ``actor.binary_bias`` is added to the logits of bits."""
    spec = env.action
    net = dict(layers=actor.layers, units=actor.units, outputs=spec.output_size, scale=actor.output_scale)
    head = _make_head(GridActor, net, model, env, dtype)
    if model.kind == "rssm":
        head = head._replace(tensors=policy_tensors(spec))
    if not actor.binary_bias:
        return head
    # A constant offset of the raw outputs equals an initial bias, and needs no surgery on the parameters.
    offset = np.zeros(spec.output_size, np.float32)
    for part, where in zip(spec.parts, spec.slices("outputs"), strict=True):
        if part.kind == "binary":
            offset[where] = actor.binary_bias

    def biased(params: Params, feat: jax.Array) -> jax.Array:
        raw = head.apply(params, feat)
        return raw + jnp.broadcast_to(jnp.asarray(offset), raw.shape)

    return head._replace(apply=biased)


def policy_tensors(spec: ActionSpec) -> Tensors:
    """The output layer of an actor by the published code's heads: one for each part, mean and deviation apart."""
    columns: list[int] = []
    for part in spec.parts:
        columns += [part.size, part.size] if part.kind == "continuous" else [part.outputs]
    return Tensors(columns=tuple((("Dense_0", "dense", leaf), tuple(columns)) for leaf in ("kernel", "bias")))


def make_critic(critic: CriticConfig, model: ModelConfig, env: EnvSpec, *, dtype: Dtype = jnp.float32) -> Head:
    """The value network: ``[..., bins]`` logits, or ``[..., 1]`` for a mean; outputs are zero at initialization."""
    outputs = critic.bins if critic.head == "twohot" else 1
    net = dict(layers=critic.layers, units=critic.units, outputs=outputs, scale=0.0)
    return _make_head(GridTrunk, net, model, env, dtype)


def _make_head(grid: type[nn.Module], net: dict[str, Any], model: ModelConfig, env: EnvSpec, dtype: Dtype) -> Head:
    """A network with sizes ``net``: an MLP over the features, or for the grid model one of type ``grid``."""
    dtype = jnp.dtype(dtype)
    module: nn.Module
    if model.kind == "grid":
        module = grid(grid_layout(model, env), **net, act=model.act, dtype=dtype)
    else:
        module = MLP(net["layers"], net["units"], net["outputs"], net["scale"], model.act, model.norm, dtype)

    def init(key: jax.Array, feat_size: int) -> Params:
        return module.init(key, jnp.zeros((1, feat_size)))["params"]

    def apply(params: Params, feat: jax.Array) -> jax.Array:
        return jnp.asarray(module.apply({"params": params}, feat), jnp.float32)

    return Head(init, apply)
