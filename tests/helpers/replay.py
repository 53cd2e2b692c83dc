"""Random records and small buffers for the tests of replay."""

from __future__ import annotations

from typing import Any

import numpy as np

from dreamjax.buffers.samplers import make_sampler
from dreamjax.buffers.sequence_buffer import SequenceBuffer
from dreamjax.config import ReplayConfig
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec, Records, RSSMState

SPEC = EnvSpec(
    obs={
        "board": ObsSpec("grid", (2, 3, 3), "uint8", 2),
        "piece": ObsSpec("vector", (3,), "float32"),
        "action_mask": ObsSpec("mask", (5,), "int8"),
    },
    action=ActionSpec((ActionPart("categorical", 5, masked=True), ActionPart("binary", 2))),
)
LATENTS = {"deter": ((4,), "float32"), "stoch": ((2, 3), "float32")}


def make_records(env: list[int], rng: np.random.Generator, spec: EnvSpec = SPEC) -> tuple[Records, np.ndarray]:
    """Random records of these environments, flags included, and random actions."""
    n = len(env)
    obs = {}
    for name, entry in spec.obs.items():
        values = rng.integers(0, 2 if entry.kind != "vector" else 50, (n, *entry.shape))
        obs[name] = (values / 7 if entry.kind == "vector" else values).astype(entry.dtype)
    first, last = rng.random(n) < 0.2, rng.random(n) < 0.2
    records = Records(
        env=np.array(env, np.int32),
        obs=obs,
        reward=rng.normal(size=n).astype(np.float32),
        is_first=first,
        is_last=last,
        is_terminal=last & (rng.random(n) < 0.5),
        info={"lines": np.zeros(n)},
    )
    high = [part.size if part.kind == "categorical" else 2 for part in spec.action.parts for _ in range(part.columns)]
    return records, rng.integers(0, high, (n, len(high))).astype(np.int32)


def make_latents(lead: tuple[int, ...], rng: np.random.Generator) -> RSSMState:
    """Latents that float16 holds exactly."""
    deter = rng.integers(-64, 64, (*lead, 4)) / 64
    return RSSMState(deter=deter.astype(np.float32), stoch=np.eye(3, dtype=np.float32)[rng.integers(0, 3, (*lead, 2))])


def make_buffer(capacity: int, num_envs: int, seed: int = 0, **kwargs: Any) -> SequenceBuffer:
    latent_spec, spec = kwargs.pop("latent_spec", None), kwargs.pop("spec", SPEC)
    config = ReplayConfig(capacity=capacity, min_size=1, **kwargs)
    sampler = make_sampler(config, num_envs=num_envs)
    return SequenceBuffer(
        spec, capacity=capacity, num_envs=num_envs, latent_spec=latent_spec, sampler=sampler, seed=seed
    )
