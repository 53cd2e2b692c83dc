"""Specs with every kind of observation and action, and random windows of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from dreamjax.types import ActionPart, ActionSpec, Batch, EnvSpec, ObsSpec

# Every kind of action at once, with a mask; one vector to see.
EVERY_ACTION = EnvSpec(
    obs={"action_mask": ObsSpec("mask", (3,), "int8"), "vector": ObsSpec("vector", (5,), "float32")},
    action=ActionSpec(
        (ActionPart("categorical", 3, masked=True), ActionPart("binary", 2), ActionPart("continuous", 2))
    ),
)


def make_tiny_spec() -> EnvSpec:
    """A board of bits, a vector, and three buttons pressed together."""
    return EnvSpec(
        obs={
            "board": ObsSpec("grid", (1, 6, 4), "uint8", classes=2),
            "piece": ObsSpec("vector", (5,), "float32"),
        },
        action=ActionSpec((ActionPart("binary", 3),)),
    )


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
