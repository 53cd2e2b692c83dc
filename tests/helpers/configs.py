"""The smallest configuration that runs every phase. Imports neither JAX nor anything that starts threads."""

from __future__ import annotations

import dataclasses
from typing import Any

from dreamjax.config import Config, from_dict, merge

SIZES: dict[str, Any] = {
    "model": {
        "deter": 16, "blocks": 2, "stoch": 4, "classes": 4, "hidden": 16, "units": 16, "layers": 1, "bins": 15,
        "conv_depth": 2, "prior_layers": 1,
    },
    "actor": {"layers": 1, "units": 16},
    "critic": {"layers": 1, "units": 16, "bins": 15},
    "imagination": {"capacity": 1024},
}  # fmt: skip
RUN: dict[str, Any] = {
    "total_steps": 64,
    "num_envs": 2,
    "batch_size": 4,
    "batch_length": 6,
    "horizon": 3,
    "replay": {"capacity": 256, "min_size": 24},
    "optimizer": {"warmup": 2},
    "eval": {"every": 0, "episodes": 2, "num_envs": 2},
    "log": {"tensorboard": False},
}


def make_tiny_config(**overrides: Any) -> Config:
    """The smallest networks and a run of 64 steps; ``overrides`` are nested dictionaries of fields."""
    return from_dict(merge(SIZES, RUN, overrides))


def vary(config: Config, **overrides: Any) -> Config:
    """The configuration with nested dictionaries of fields changed."""
    return from_dict(merge(dataclasses.asdict(config), overrides))
