"""Set-up of every test: JAX's checks, four virtual devices, a compilation cache, and one tiny agent for all.

JAX reads these settings when it starts, so they are set before anything imports it. What is set in the environment
reaches the processes that tests start as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny import QUICK_FLAGS, SIZES

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Most of a test run is compilation.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK_FLAGS}".strip()

import jax
import numpy as np
import pytest

from dreamjax import config as config_lib
from dreamjax import types

if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)


def make_tiny_config(**overrides: Any) -> config_lib.Config:
    """The smallest configuration that runs every phase; ``overrides`` are nested dictionaries of fields."""
    tiny = {
        "total_steps": 64,
        "num_envs": 2,
        "batch_size": 4,
        "batch_length": 6,
        "horizon": 3,
        "replay": {"capacity": 256, "min_size": 24},
        "optimiser": {"warmup": 2},
        "eval": {"every": 0, "episodes": 2, "num_envs": 2},
        "log": {"tensorboard": False},
    }
    return config_lib.from_dict(config_lib.merge(SIZES, tiny, overrides))


def make_tiny_spec() -> types.EnvSpec:
    """A board of bits, a vector, and three buttons pressed together."""
    return types.EnvSpec(
        obs={
            "board": types.ObsSpec("grid", (1, 6, 4), "uint8", classes=2),
            "piece": types.ObsSpec("vector", (5,), "float32"),
        },
        action=types.ActionSpec((types.ActionPart("binary", 3),)),
    )


def make_tiny_batch(spec: types.EnvSpec, *, batch: int = 4, length: int = 6, seed: int = 0) -> types.Batch:
    """Random windows of ``spec``: one episode ends inside the last row and a new one begins after it."""
    rng = np.random.default_rng(seed)
    obs = {}
    for name, entry in spec.obs.items():
        shape = (batch, length, *entry.shape)
        high = {"image": 256, "mask": 2}.get(entry.kind, entry.classes)
        vector = entry.kind == "vector"
        obs[name] = (rng.normal(size=shape) if vector else rng.integers(0, high, shape)).astype(entry.dtype)
    columns = []
    for part in spec.action.parts:
        shape = (batch, length, part.columns)
        high = part.size if part.kind == "categorical" else 2
        columns.append(rng.uniform(-1, 1, shape) if part.kind == "continuous" else rng.integers(0, high, shape))
    action = np.concatenate(columns, -1).astype(spec.action.record_dtype)
    is_first, is_last = np.zeros((batch, length), bool), np.zeros((batch, length), bool)
    is_first[0, 0] = True
    is_last[-1, length // 2 - 1] = True
    is_first[-1, length // 2] = True
    reward = np.where(is_first, 0, rng.normal(size=(batch, length))).astype(np.float32)
    return types.Batch(
        obs=obs,
        action=np.where(is_last[..., None], 0, action).astype(action.dtype),
        reward=reward,
        is_first=is_first,
        is_last=is_last,
        is_terminal=is_last.copy(),
        row=np.arange(batch, dtype=np.int32),
        prev_action=np.zeros((batch, spec.action.record_size), action.dtype),
    )


@pytest.fixture(scope="session")
def tiny_config() -> config_lib.Config:
    return make_tiny_config()


@pytest.fixture(scope="session")
def tiny_spec() -> types.EnvSpec:
    return make_tiny_spec()


@pytest.fixture(scope="session")
def tiny_batch(tiny_spec: types.EnvSpec) -> Callable[..., types.Batch]:
    """``tiny_batch(batch=4, length=6, seed=0)`` builds random windows of ``tiny_spec``."""
    return lambda **kwargs: make_tiny_batch(tiny_spec, **kwargs)


@pytest.fixture(scope="session")
def tiny_agent(tiny_config: config_lib.Config, tiny_spec: types.EnvSpec) -> Any:
    """One tiny agent, compiled once a session."""
    from dreamjax.agents.agent import make_agent

    return make_agent(tiny_config, tiny_spec)
