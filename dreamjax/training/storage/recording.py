"""Replay apart from a run: built for one, learned from without an environment, and written as one NPZ file.

The file holds plain arrays, one row a step, by stream and then by age: ``env`` int32 ``[N]`` (which stream); ``is_first``,
``is_last``, ``is_terminal`` bool ``[N]``; ``reward`` float32 ``[N]``; ``action`` ``[N, K]``; ``obs/<name>`` ``[N, ...]``;
and ``spec``, the ``EnvSpec`` as JSON text. They are aligned as in ``dreamjax.types``: ``reward[t]`` came with ``obs[t]``,
and ``action[t]`` was chosen from it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dreamjax import files
from dreamjax.buffers.samplers import make_sampler
from dreamjax.buffers.sequence_buffer import LatentSpec, SequenceBuffer
from dreamjax.config import ReplayConfig
from dreamjax.training.storage import checkpoint, segments
from dreamjax.training.storage.workdir import UsageError
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec, Records, WorldModel

FLAGS = ("is_first", "is_last", "is_terminal")


def kept_latents(config: ReplayConfig, world_model: WorldModel) -> Any:
    """Shapes ``[1, ...]`` of the latents that replay keeps, or None."""
    return jax.eval_shape(lambda: world_model.initial(1)) if config.keep_latents else None


def latent_spec(latents: Any) -> LatentSpec | None:
    """``kept_latents`` as the buffer takes them."""
    if latents is None:
        return None
    return {name: (getattr(latents, name).shape[1:], str(getattr(latents, name).dtype)) for name in ("deter", "stoch")}


def make_replay(
    config: ReplayConfig, spec: EnvSpec, *, num_envs: int, seed: int, latents: LatentSpec | None = None
) -> SequenceBuffer:
    """The replay of a configuration for ``num_envs`` streams."""
    sampler = make_sampler(config, num_envs=num_envs)
    return SequenceBuffer(
        spec, capacity=config.capacity, num_envs=num_envs, latent_spec=latents, sampler=sampler, seed=seed
    )


def spec_to_dict(spec: EnvSpec) -> dict[str, Any]:
    """A specification as JSON can hold it; ``spec_from_dict`` is its inverse."""
    return json.loads(json.dumps(dataclasses.asdict(spec)))


def spec_from_dict(values: dict[str, Any]) -> EnvSpec:
    """Inverse of ``spec_to_dict``. Raises KeyError, TypeError or ValueError on anything else."""
    obs = {name: ObsSpec(**{**entry, "shape": tuple(entry["shape"])}) for name, entry in values["obs"].items()}
    parts = [
        ActionPart(**{**part, "low": tuple(part.get("low", ())), "high": tuple(part.get("high", ()))})
        for part in values["action"]["parts"]
    ]
    return EnvSpec(obs, ActionSpec(tuple(parts)))


class SavedReplay(NamedTuple):
    """The steps that a run or a file holds.

    Attributes:
        spec: of their environment. num_envs: streams. size: most steps of a stream. steps: of all streams together.
        fill: adds them to an empty buffer of this layout.
    """

    spec: EnvSpec
    num_envs: int
    size: int
    steps: int
    fill: Callable[[SequenceBuffer], None]


def open_saved_replay(path: str | Path, name: str = "offline.replay") -> SavedReplay:
    """The steps in an NPZ file, or in the newest intact checkpoint of a work directory.

    Raises:
        UsageError: there are none, or they cannot be read; the message begins with ``name=path``.
    """
    path = Path(path)
    try:
        return _from_workdir(path) if path.is_dir() else _from_npz(path)
    except UsageError as error:
        raise UsageError(f"{name}={path} is not allowed: {error}") from None
    except FileNotFoundError:
        raise UsageError(f"{name}={path} is not allowed: there is no such file or directory") from None
    except (checkpoint.CheckpointError, OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise UsageError(f"{name}={path} is not allowed: it cannot be read: {error}") from error


def _from_workdir(path: Path) -> SavedReplay:
    newest = checkpoint.intact(path)
    meta = checkpoint.read_meta(newest)
    folder = checkpoint.replay_folder(newest)
    if "spec" not in meta or not folder.is_dir():
        raise UsageError(f"{newest} does not hold its environment's specification: it was written by an older version")
    if meta["num_processes"] != 1:
        raise UsageError(f"{newest} holds the replays of {meta['num_processes']} processes; only one's can be read")
    last = segments.read(segments.segments(folder)[-1])
    head, size = last["head"], int(last["size"])

    def fill(buffer: SequenceBuffer) -> None:
        buffer.load_steps(segments.read_all(folder), head)

    stored = int(np.minimum(head, size).sum())
    return SavedReplay(spec_from_dict(meta["spec"]), len(head), size, stored, fill)


def _from_npz(path: Path) -> SavedReplay:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    missing = {"env", "action", "reward", "spec", *FLAGS} - arrays.keys()
    if missing:
        raise UsageError(f"it lacks {', '.join(sorted(missing))}")
    spec = spec_from_dict(json.loads(str(arrays.pop("spec"))))
    env = np.asarray(arrays["env"])
    if env.ndim != 1 or env.dtype.kind not in "iu" or not len(env):
        raise UsageError("env must number the streams of one or more steps")
    unequal = sorted(name for name, array in arrays.items() if len(array) != len(env))
    if unequal:
        raise UsageError(f"{unequal[0]} has {len(arrays[unequal[0]])} rows, env has {len(env)}")
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UsageError(f"{name} holds values that are not finite")
    streams, number = np.unique(env, return_inverse=True)
    obs = {name[len("obs/") :]: array for name, array in arrays.items() if name.startswith("obs/")}
    records = Records(
        env=number.astype(np.int32),
        obs=obs,
        reward=arrays["reward"],
        info={},
        **{name: np.asarray(arrays[name], bool) for name in FLAGS},
    )

    def fill(buffer: SequenceBuffer) -> None:
        buffer.fill(records, arrays["action"])

    return SavedReplay(spec, len(streams), int(np.bincount(number).max()), len(env), fill)


def export_npz(saved: SavedReplay, path: str | Path) -> int:
    """Writes steps as an NPZ file, whole or not at all; returns their number.

    Raises:
        OSError: it cannot be written.
    """
    config = ReplayConfig(capacity=saved.num_envs * saved.size, min_size=1)
    buffer = make_replay(config, saved.spec, num_envs=saved.num_envs, seed=0)
    saved.fill(buffer)
    records, action = buffer.stored()
    arrays = {f"obs/{name}": value for name, value in records.obs.items()}
    arrays |= {name: getattr(records, name) for name in ("env", "reward", *FLAGS)}
    spec = json.dumps(spec_to_dict(saved.spec))
    with files.atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, action=action, spec=spec, **arrays)
    return len(records)
