"""Actor and critic networks: features to the raw parameters of policies and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dreamjax.config import Config
from dreamjax.models.ensemble import Ensemble
from dreamjax.models.grid_layers import GridActor, GridTrunk, grid_layout
from dreamjax.models.nets import MLP
from dreamjax.types import ActionSpec, EnvSpec, Params, WorldModel


class Head(NamedTuple):
    """A network as pure functions.

    Attributes:
        init: ``(key, feat_size) -> params``.
        apply: ``(params, feat, products=None) -> float32 [..., out]``. With ``products`` nothing is multiplied by a kernel
            again.
        record: ``(params, feat) -> (float32 [..., out], products)``: what each kernel made of its input, by layer.
    """

    init: Callable[[jax.Array, int], Params]
    apply: Callable[..., jax.Array]
    record: Callable[[Params, jax.Array], tuple[jax.Array, Params]]


class Networks(NamedTuple):
    """The functions an update works on."""

    world_model: WorldModel
    actor: Head
    critic: Head
    ensemble: Ensemble | None = None


def policy_outputs(spec: ActionSpec) -> int:
    """Outputs an actor needs: a logit for each class or bit, mean and deviation for each continuous dimension."""
    return sum(part.size * (2 if part.kind == "continuous" else 1) for part in spec.parts)


def make_actor(config: Config, env: EnvSpec) -> Head:
    """The policy network, raw outputs ``[..., policy_outputs]``; the initial bias of bits is the configuration's."""
    spec, actor = env.action, config.actor
    if config.model.kind == "grid":
        net = _grid_net(config, actor.layers, actor.units, policy_outputs(spec), actor.output_scale)
        head = _head(GridActor(grid_layout(config, env), **net))
    else:
        head = _mlp_head(config, actor.layers, actor.units, policy_outputs(spec), actor.output_scale)
    if not config.actor.binary_bias:
        return head
    # A constant offset of the raw outputs equals an initial bias, and needs no surgery on the parameters.
    offset: list[float] = []
    for part in spec.parts:
        if part.kind == "binary":
            offset.extend(config.actor.binary_bias)
        else:
            offset.extend([0.0] * (part.size * (2 if part.kind == "continuous" else 1)))

    def biased(raw: jax.Array) -> jax.Array:
        return raw + jnp.broadcast_to(jnp.asarray(offset, jnp.float32), raw.shape)

    def record(params: Params, feat: jax.Array) -> tuple[jax.Array, Params]:
        raw, products = head.record(params, feat)
        return biased(raw), products

    return Head(head.init, lambda params, feat, products=None: biased(head.apply(params, feat, products)), record)


def make_critic(config: Config, env: EnvSpec) -> Head:
    """The value network: ``[..., bins]`` logits, or ``[..., 1]`` for a mean; zero outputs at the start."""
    outputs = config.critic.bins if config.critic.head == "twohot" else 1
    if config.model.kind == "grid":
        net = _grid_net(config, config.critic.layers, config.critic.units, outputs, 0.0)
        return _head(GridTrunk(grid_layout(config, env), **net))
    return _mlp_head(config, config.critic.layers, config.critic.units, outputs, 0.0)


def _grid_net(config: Config, layers: int, units: int, outputs: int, scale: float) -> dict[str, Any]:
    dtype = jnp.dtype(config.parallel.precision)
    return dict(units=units, layers=layers, outputs=outputs, scale=scale, act=config.model.act, dtype=dtype)


def _mlp_head(config: Config, layers: int, units: int, outputs: int, scale: float) -> Head:
    model = config.model
    dtype = jnp.dtype(config.parallel.precision)
    return _head(MLP(layers, units, outputs, scale, model.act, model.norm, dtype))


def _head(module: nn.Module) -> Head:
    def init(key: jax.Array, feat_size: int) -> Params:
        return module.init(key, jnp.zeros((1, feat_size)))["params"]

    def apply(params: Params, feat: jax.Array, products: Params | None = None) -> jax.Array:
        return jnp.asarray(module.apply({"params": params, "products": products or {}}, feat), jnp.float32)

    def record(params: Params, feat: jax.Array) -> tuple[jax.Array, Params]:
        outputs, state = module.apply({"params": params}, feat, mutable=["products"])
        return jnp.asarray(outputs, jnp.float32), state["products"]

    return Head(init, apply, record)
