"""What two runs must have alike: the newest checkpoint, whole, and every line of metrics without the clock's."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import chex
import jax
import numpy as np

from dreamjax.config import Config, from_dict
from dreamjax.training.storage import checkpoint, recording
from dreamjax.training.storage.segments import Segments
from dreamjax.types import EnvSpec


def replay_of(
    path: Path, config: Config, rest: Any, spec: EnvSpec, world_model: Any, index: int = 0
) -> dict[str, np.ndarray]:
    """The replay of process ``index``, loaded and saved whole: the same however it was cut into segments."""
    latents = recording.latent_spec(recording.kept_latents(config.replay, world_model))
    num_envs = len(rest["head"])
    replay = dataclasses.replace(config.replay, capacity=num_envs * int(rest["size"]), min_size=1)
    buffer = recording.make_replay(replay, spec, num_envs=num_envs, seed=0, latents=latents)
    Segments(buffer).load(checkpoint.replay_folder(path, index), rest)
    return buffer.state_dict()


def contents(path: Path, agent: Any, index: int = 0) -> Any:
    """The newest checkpoint, as process ``index`` reads it, as one tree of arrays and numbers, without the clock's time."""
    newest = checkpoint.latest(path)
    assert newest is not None
    state, host, meta = checkpoint.restore(newest, jax.eval_shape(agent.init, jax.random.key(0)), index)
    config = from_dict(meta["config"])
    host["replay"] = replay_of(newest, config, host["replay"], agent.spec, agent.world_model, index)
    for name in ("elapsed", "offset"):  # lines hold wall times of different widths
        host["logger"].pop(name, None)  # processes that do not lead log nothing
    return state.replace(key=jax.random.key_data(state.key)), host, meta | {"config": None}


def lines(path: Path) -> list[dict[str, Any]]:
    """``metrics.jsonl`` without what depends on the clock and the machine."""
    parsed = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if not k.startswith(("time/", "memory/")) and k != "wall_time"}
        for line in parsed
    ]


def assert_same(ours: Any, theirs: Any, *, rounding: float = 0.0) -> None:
    """Bit-equal trees, dtypes included, or with ``rounding`` floats that near; names the first leaf that differs."""
    if not rounding:
        chex.assert_trees_all_equal(ours, theirs, strict=True)
        return
    exact = lambda tree: [x for x in jax.tree.leaves(tree) if not is_float(x)]
    near = lambda tree: [x for x in jax.tree.leaves(tree) if is_float(x)]
    chex.assert_trees_all_equal_structs(ours, theirs)
    chex.assert_trees_all_equal(exact(ours), exact(theirs), strict=True)
    chex.assert_trees_all_close(near(ours), near(theirs), rtol=rounding, atol=rounding)


def is_float(leaf: Any) -> bool:
    return np.asarray(leaf).dtype.kind == "f"
