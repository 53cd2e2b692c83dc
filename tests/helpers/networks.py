"""The networks of a configuration, each alone or all together."""

from __future__ import annotations

from dreamjax.agents.agent import compute_dtype
from dreamjax.config import Config
from dreamjax.models.ensemble import Ensemble, make_ensemble
from dreamjax.models.heads import Head, Networks, make_actor, make_critic
from dreamjax.models.world_model import make_world_model
from dreamjax.types import EnvSpec, WorldModel


def world_model(config: Config, spec: EnvSpec) -> WorldModel:
    return make_world_model(config.model, spec, dtype=compute_dtype(config.parallel.precision))


def actor(config: Config, spec: EnvSpec) -> Head:
    return make_actor(config.actor, config.model, spec, dtype=compute_dtype(config.parallel.precision))


def critic(config: Config, spec: EnvSpec) -> Head:
    return make_critic(config.critic, config.model, spec, dtype=compute_dtype(config.parallel.precision))


def ensemble(config: Config, spec: EnvSpec) -> Ensemble:
    return make_ensemble(config.ensemble, config.model, spec, dtype=compute_dtype(config.parallel.precision))


def networks(config: Config, spec: EnvSpec) -> Networks:
    """The networks of an agent with this configuration."""
    members = ensemble(config, spec) if config.ensemble.size else None
    return Networks(world_model(config, spec), actor(config, spec), critic(config, spec), members)
