"""Small parts that many tests share: parameters without compiling an initialiser, batches with every kind of ending."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from tiny import QUICK as QUICK

from dreamjax import config as config_lib
from dreamjax.models.ensemble import Ensemble, make_ensemble
from dreamjax.models.heads import Head, Networks, make_actor, make_critic
from dreamjax.models.world_model import make_world_model
from dreamjax.types import ActionPart, ActionSpec, Batch, EnvSpec, ObsSpec, WorldModel

# Every kind of action at once, with a mask; one vector to see.
EVERY_ACTION = EnvSpec(
    obs={"action_mask": ObsSpec("mask", (3,), "int8"), "vector": ObsSpec("vector", (5,), "float32")},
    action=ActionSpec(
        (ActionPart("categorical", 3, masked=True), ActionPart("binary", 2), ActionPart("continuous", 2))
    ),
)


def vary(config: config_lib.Config, **overrides: Any) -> config_lib.Config:
    """The configuration with nested dictionaries of fields changed."""
    return config_lib.from_dict(config_lib.merge(dataclasses.asdict(config), overrides))


def world_model(config: config_lib.Config, spec: EnvSpec) -> WorldModel:
    return make_world_model(config.model, spec, dtype=config.parallel.precision)


def actor(config: config_lib.Config, spec: EnvSpec) -> Head:
    return make_actor(config.actor, config.model, spec, dtype=config.parallel.precision)


def critic(config: config_lib.Config, spec: EnvSpec) -> Head:
    return make_critic(config.critic, config.model, spec, dtype=config.parallel.precision)


def ensemble(config: config_lib.Config, spec: EnvSpec) -> Ensemble:
    return make_ensemble(config.ensemble, config.model, spec, dtype=config.parallel.precision)


def networks(config: config_lib.Config, spec: EnvSpec) -> Networks:
    """The networks of an agent with this configuration."""
    members = ensemble(config, spec) if config.ensemble.size else None
    return Networks(world_model(config, spec), actor(config, spec), critic(config, spec), members)


def random_params(init: Any, *args: Any, seed: int = 0, scale: float = 1.0) -> Any:
    """Parameters shaped like ``init(key, *args)``, normal with deviation ``scale / sqrt(fan-in)``, none zero."""
    shapes = jax.eval_shape(init, jax.random.key(0), *args)
    return noise_like(shapes, seed=seed, scale=scale)


def noise_like(tree: Any, *, seed: int = 0, scale: float = 1.0) -> Any:
    rng = np.random.default_rng(seed)

    def draw(leaf: Any) -> np.ndarray:
        fan_in = leaf.shape[-2] if len(leaf.shape) > 1 else 1
        return (rng.normal(size=leaf.shape) * scale / np.sqrt(fan_in)).astype(leaf.dtype)

    return jax.tree.map(draw, tree)


def random_batch(spec: EnvSpec, *, batch: int = 4, length: int = 6, seed: int = 0) -> Batch:
    """Random windows. Row 0 begins an episode; row 1 holds a termination at step 2, row 2 a time limit at step 3; the
    last row ends with a termination at the last step. Where there are masks, some action is legal in each."""
    rng = np.random.default_rng(seed)
    lead = (batch, length)
    obs = {}
    for name, entry in spec.obs.items():
        shape = (*lead, *entry.shape)
        if entry.kind == "vector":
            obs[name] = rng.normal(size=shape).astype(entry.dtype)
        else:
            obs[name] = rng.integers(0, {"image": 256, "mask": 2}.get(entry.kind, entry.classes), shape)
        if entry.kind == "mask":
            obs[name][..., 1] = 1
        obs[name] = obs[name].astype(entry.dtype)
    columns = []
    for part in spec.action.parts:
        if part.kind == "continuous":
            columns.append(rng.uniform(-2, 2, (*lead, part.columns)))
        else:
            columns.append(rng.integers(0, part.size if part.kind == "categorical" else 2, (*lead, part.columns)))
    action = np.concatenate(columns, -1).astype(spec.action.record_dtype)
    is_first, is_last, is_terminal = (np.zeros(lead, bool) for _ in range(3))
    is_first[0, 0] = True
    for row, step in ((1, 2), (2, 3)):
        if row < batch and step + 1 < length:
            is_last[row, step], is_first[row, step + 1] = True, True
            is_terminal[row, step] = row == 1
    is_last[-1, -1] = is_terminal[-1, -1] = True
    return Batch(
        obs=obs,
        action=np.where(is_last[..., None], 0, action).astype(action.dtype),
        reward=np.where(is_first, 0, rng.normal(size=lead)).astype(np.float32),
        is_first=is_first,
        is_last=is_last,
        is_terminal=is_terminal,
        row=np.arange(batch, dtype=np.int32),
        prev_action=action[:, -1],
    )


def along(x: Any, rows: list[int]) -> np.ndarray:
    """Bool, true in these rows of the first axis of ``x``; as many axes as ``x``."""
    return np.isin(np.arange(len(x)), rows).reshape(-1, *(1,) * (np.ndim(x) - 1))
