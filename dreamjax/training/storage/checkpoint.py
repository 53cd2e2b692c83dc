"""Checkpoints: everything a run needs to continue, complete or invisible, verified when read.

``checkpoints/<step>/`` holds ``params/`` and ``learner/`` (the rest of the ``TrainState``) as Orbax trees, ``host/``
(collector, sampler, ...) as one ``.npy`` file for each array and ``host.json`` for the rest, ``replay/`` the stored steps
(see ``segments``; ``host.<i>/``, ``host.<i>.json`` and ``replay.<i>/`` for the other processes of a run of several),
``meta.json``, and ``manifest.json`` with the size and SHA-256 of every other file. It is written under a
temporary name and renamed, by all processes in step, when it is complete.
Only arrays and JSON are read: nothing in a checkpoint can run code.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp

from dreamjax import files
from dreamjax.algorithms.randomness import is_key
from dreamjax.training.runtime.devices import local
from dreamjax.training.runtime.hosts import Group
from dreamjax.training.storage.segments import Segments
from dreamjax.training.storage.workdir import UsageError
from dreamjax.types import Params, TrainState

LOG = logging.getLogger(__name__)
MANIFEST, META = "manifest.json", "meta.json"
_TEMPORARY = "tmp."


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or read; the message names the file, the cause and the last good one."""


def folder(workdir: str | Path) -> Path:
    """Where a run's checkpoints lie, absolute (Orbax fails late on relative paths)."""
    return Path(workdir).resolve() / "checkpoints"


def step_of(path: Path) -> int:
    """Environment step of a checkpoint, from its name ``<step>`` or, saved again at the same step, ``<step>.<n>``."""
    return int(path.name.split(".")[0])


def saved_again(path: Path) -> int:
    """The number n in the name ``<step>.<n>``; 0 for ``<step>``."""
    return int(path.name.partition(".")[2] or 0)


def all_checkpoints(workdir: str | Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    there = folder(workdir)
    found = [path for path in there.iterdir() if path.name[0].isdigit()] if there.is_dir() else []
    return sorted(found, key=lambda path: (step_of(path), saved_again(path)))


def latest(workdir: str | Path) -> Path | None:
    """The newest complete checkpoint, not yet verified."""
    found = all_checkpoints(workdir)
    return found[-1] if found else None


def save(
    workdir: str | Path,
    step: int,
    state: TrainState,
    host: dict[str, Any],
    meta: dict[str, Any],
    *,
    keep: int,
    replay: Segments | None = None,
    group: Group | None = None,
    replaces: Path | None = None,
) -> Path:
    """Writes a checkpoint, then deletes all but the newest ``keep`` and the one with the greatest ``meta["score"]``.

    In a run of several processes all call it: process 0 writes what there is once, each its own ``host``.

    Args:
        step: environment steps, the checkpoint's name.
        state: the learner's.
        host: nested dictionaries and lists of NumPy arrays, numbers, strings and None.
        meta: small facts as JSON; ``score``, where present, is the evaluation's mean return.
        replay: whose steps are saved, those written since the last checkpoint only.
        group: the processes of the run (default: all).
        replaces: an earlier checkpoint of this step that is deleted too, or None.

    Raises:
        CheckpointError: it could not be written (no space, no permission, ...), by whichever process; earlier ones are
            untouched.
    """
    group = group or Group()
    there = folder(workdir)
    # The number after the newest one's, not how many there are: older ones of this step may have been deleted.
    taken = [saved_again(path) for path in all_checkpoints(workdir) if step_of(path) == step]
    name = group.broadcast(f"{step:012d}.{taken[-1] + 1}" if taken else f"{step:012d}")
    final, temporary = there / name, there / f"{_TEMPORARY}{name}"

    def begin() -> None:
        there.mkdir(parents=True, exist_ok=True)
        for left in there.glob(f"{_TEMPORARY}*"):  # of a run that was killed; the work directory's lock is ours
            shutil.rmtree(left)
        temporary.mkdir()
        _write_tree(temporary / "params", state.params)
        _write_tree(temporary / "learner", dataclasses.replace(state, params={}))
        (temporary / META).write_text(json.dumps({"step": step, "num_processes": group.count} | meta, indent=1))

    def mine() -> None:
        _write_host(temporary, host, group.index)
        if replay is not None:
            replay.write(replay_folder(temporary, group.index))

    def finish() -> None:
        _write_manifest(temporary, latest(workdir))
        temporary.rename(final)
        files.sync(there)

    for part, here in ((begin, group.is_primary), (mine, True), (finish, group.is_primary)):
        cause, message = None, None
        try:
            if here:
                part()
        except Exception as error:  # Orbax and TensorStore raise their own kinds
            cause, message = error, str(error)
        failed = [
            f"process {i}: {text}" if group.count > 1 else text for i, text in enumerate(group.gather(message)) if text
        ]
        if failed:
            if group.is_primary:
                shutil.rmtree(temporary, ignore_errors=True)
            problem = "; ".join(failed)
            raise CheckpointError(f"cannot save {final}: {problem}. Last good checkpoint: {latest(workdir)}") from cause
    if replay is not None:
        replay.written(replay_folder(final, group.index))
    if group.is_primary:
        _prune(workdir, keep, replaces)
    return final


def replay_folder(path: Path, index: int = 0) -> Path:
    """Where a checkpoint keeps the steps of process ``index``."""
    return path / (f"replay.{index}" if index else "replay")


def restore(path: Path, like: TrainState, index: int = 0) -> tuple[TrainState, dict[str, Any], dict[str, Any]]:
    """Reads and verifies one checkpoint.

    Args:
        path: of the checkpoint. like: a ``TrainState`` of arrays or shapes, as this configuration makes it.
        index: of the process whose ``host`` is read.

    Returns:
        State (NumPy arrays, typed keys), ``host`` and ``meta`` as saved.

    Raises:
        CheckpointError: a file is damaged or missing, or shapes or dtypes differ from ``like``.
    """
    verify(path)
    return _read(path, like, index)


def _read(path: Path, like: TrainState, index: int = 0) -> tuple[TrainState, dict[str, Any], dict[str, Any]]:
    params = _read_tree(path / "params", like.params)
    learner = _read_tree(path / "learner", dataclasses.replace(like, params={}))
    try:
        host = _read_host(path, index)
    except (OSError, ValueError, KeyError, TypeError) as error:  # intact as written, but not by us
        raise CheckpointError(f"checkpoint {path} cannot be read: {error}") from error
    return dataclasses.replace(learner, params=params), host, read_meta(path)


def restore_params(path: Path, like: Params) -> tuple[Params, dict[str, Any]]:
    """Reads and verifies the parameters and ``meta``; the replay is not touched. Raises as ``restore``."""
    verify(path, "params", META)
    return _read_tree(path / "params", like), read_meta(path)


def restore_some(path: Path, like: dict[str, Any]) -> dict[str, np.ndarray]:
    """Reads and verifies the parameters that ``like`` names, by dotted name; others may differ. Raises as ``restore``."""
    verify(path, "params", META)
    return _read_some(path / "params", like)


def restore_latest(
    workdir: str | Path, like: TrainState, group: Group | None = None
) -> tuple[Path, TrainState, dict[str, Any], dict[str, Any]]:
    """The newest intact checkpoint; a warning names each damaged one that is skipped.

    Process 0 of a run of several verifies and chooses; each reads what it wrote.

    Raises:
        CheckpointError: none is intact, or the newest intact one does not fit ``like``.
        UsageError: it was written by another number of processes.
    """
    group = group or Group()
    chosen, problem = None, None
    if group.is_primary:
        try:
            chosen = str(intact(workdir))
        except CheckpointError as error:
            problem = str(error)
    chosen, problem = group.broadcast([chosen, problem])
    if problem is not None:
        raise CheckpointError(problem)
    path = Path(chosen)
    wrote = read_meta(path).get("num_processes", 1)
    if wrote != group.count:
        raise UsageError(
            f"checkpoint {path} holds the environments and replay of {wrote} processes, and this run has {group.count}: "
            f"go on with distributed.num_processes={wrote}, or begin in another --workdir"
        )
    return path, *_read(path, like, group.index)


def intact(workdir: str | Path, *parts: str) -> Path:
    """Path of the newest checkpoint whose ``parts`` (all where none are named) pass ``verify``.

    Raises:
        CheckpointError: there is none.
    """
    damaged = []
    for path in reversed(all_checkpoints(workdir)):
        try:
            verify(path, *parts)
        except CheckpointError as error:
            damaged.append(str(error))
            warnings.warn(f"{error}; trying the checkpoint before it", stacklevel=2)
        else:
            return path
    raise CheckpointError("; ".join(damaged) or f"there is no checkpoint in {folder(workdir)}")


def read_meta(path: Path) -> dict[str, Any]:
    """What a checkpoint says about itself: step, update, configuration, versions."""
    return json.loads((path / META).read_text())


def verify(path: Path, *parts: str) -> None:
    """Compares files with the manifest: all of them, or those in the named folders and files.

    Raises:
        CheckpointError: naming the first file that is missing, changed, truncated or too many.
    """
    try:
        listed = json.loads((path / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged: {MANIFEST} cannot be read ({error})") from None
    present = {name for name in _files(path) if name != MANIFEST}
    for name in sorted(present | listed.keys()):
        if parts and name.split("/")[0] not in parts:
            continue
        if name not in present or name not in listed:
            problem = "is missing" if name in listed else "does not belong to it"
            raise CheckpointError(f"checkpoint {path} is damaged: {name} {problem}")
        if [(path / name).stat().st_size, files.sha256(path / name)] != listed[name]:
            raise CheckpointError(f"checkpoint {path} is damaged: {name} has changed")


def _write_tree(path: Path, tree: Any) -> None:
    """A tree as a flat Orbax dictionary by leaf path; typed keys as their data."""
    flat = {name: local(jax.random.key_data(leaf) if is_key(leaf) else leaf) for name, leaf in named_leaves(tree)}
    if jax.process_count() > 1:  # Orbax takes arrays of one process only from NumPy
        flat = jax.tree.map(np.asarray, flat)
    with _checkpointer() as checkpointer:
        checkpointer.save(path, flat)
    if not path.is_dir():
        raise OSError(f"Orbax did not write {path}")


def _read_tree(path: Path, like: Any) -> Any:
    """Reads what ``_write_tree`` wrote into the structure of ``like``, or raises naming the first difference."""
    wanted = {
        name: jax.eval_shape(jax.random.key_data, leaf) if is_key(leaf) else leaf for name, leaf in named_leaves(like)
    }
    with _checkpointer() as checkpointer:
        stored = checkpointer.metadata(path).item_metadata.tree
        unknown = sorted(stored.keys() - wanted.keys())
        if unknown:  # of a version that had more
            LOG.info("checkpoint %s: %s of %s are not used any more", path.parent, ", ".join(unknown), path.name)
        flat = _restore_leaves(checkpointer, path, wanted, stored)
    leaves = [jax.random.wrap_key_data(flat[n]) if is_key(leaf) else flat[n] for n, leaf in named_leaves(like)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _read_some(path: Path, like: dict[str, Any]) -> dict[str, np.ndarray]:
    """Reads the leaves that ``like`` names, or raises naming the first difference."""
    with _checkpointer() as checkpointer:
        found = _restore_leaves(checkpointer, path, like, checkpointer.metadata(path).item_metadata.tree)
    return {name: found[name] for name in like}  # in the order of ``like``


def _restore_leaves(
    checkpointer: ocp.Checkpointer, path: Path, wanted: dict[str, Any], stored: dict[str, Any]
) -> dict[str, Any]:
    """The leaves ``wanted`` of those ``stored``, or raises naming the first difference."""
    _compare(path, wanted, stored)
    if not wanted:
        return {}
    numpy = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in wanted}
    partial = wanted.keys() != stored.keys()
    return checkpointer.restore(path, ocp.args.PyTreeRestore(item=wanted, restore_args=numpy, partial_restore=partial))


def _compare(path: Path, wanted: dict[str, Any], stored: dict[str, Any]) -> None:
    """Raises CheckpointError naming the first wanted entry that is not stored, or of another shape or dtype."""
    for name in sorted(wanted):
        have, want = (_signature(tree[name]) if name in tree else "nothing" for tree in (stored, wanted))
        if have != want:
            raise CheckpointError(
                f"checkpoint {path.parent} is of another model: {path.name}/{name} is {have} there, {want} here"
            )


def _checkpointer() -> ocp.Checkpointer:
    """Orbax for this process only; ``save`` decides which process writes which part, and when."""
    if jax.process_count() == 1:
        return ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
    index = jax.process_index()
    single = ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"process{index}"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=single)
    return ocp.Checkpointer(handler, multiprocessing_options=single)


def named_leaves(tree: Any) -> list[tuple[str, Any]]:
    """The leaves of a tree, each with its path, names joined by dots."""
    found = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in found]


def _signature(leaf: Any) -> str:
    return f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"


def _part(index: int) -> str:
    """Name of a process's folder in a checkpoint."""
    return f"host.{index}" if index else "host"


def _write_host(path: Path, host: dict[str, Any], index: int = 0) -> None:
    arrays = path / _part(index)
    arrays.mkdir()
    count = iter(range(10**9))

    def write(value: Any) -> Any:
        if isinstance(value, dict):
            return {"dict": {name: write(entry) for name, entry in value.items()}}
        if isinstance(value, list):
            return {"list": [write(entry) for entry in value]}
        if isinstance(value, np.ndarray | np.generic):
            array, name = np.asarray(value), f"{next(count):04d}.npy"
            np.save(arrays / name, array, allow_pickle=False)  # bfloat16 as two raw bytes a number
            return {"array": name, "dtype": array.dtype.name}
        if value is None or isinstance(value, bool | int | float | str):
            return {"value": value}
        raise TypeError(f"a checkpoint holds arrays, numbers, strings and None, not {type(value).__name__}")

    (path / f"{_part(index)}.json").write_text(json.dumps(write(host)))


def _read_host(path: Path, index: int = 0) -> dict[str, Any]:
    def read(node: dict[str, Any]) -> Any:
        ((kind, value),) = ((name, entry) for name, entry in node.items() if name != "dtype")
        if kind == "dict":
            return {name: read(entry) for name, entry in value.items()}
        if kind == "list":
            return [read(entry) for entry in value]
        if kind == "array":
            array = np.load(path / _part(index) / Path(value).name, allow_pickle=False)
            return array.view(ml_dtypes.bfloat16) if node["dtype"] == "bfloat16" else array
        return value

    return read(json.loads((path / f"{_part(index)}.json").read_text()))


def _write_manifest(path: Path, before: Path | None = None) -> None:
    """Sizes and sums of all files; those linked from the checkpoint ``before`` keep the sums they were written with."""
    known = _sums(before) if before is not None else {}

    def entry(name: str) -> list[Any]:
        if before is not None and name in known and (before / name).is_file() and (path / name).samefile(before / name):
            return known[name]
        return [(path / name).stat().st_size, files.sha256(path / name)]

    listed = {name: entry(name) for name in _files(path) if name != MANIFEST}
    (path / MANIFEST).write_text(json.dumps({"files": listed}, indent=1))
    files.sync(path / MANIFEST)


def _sums(path: Path) -> dict[str, list[Any]]:
    try:
        return json.loads((path / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _files(path: Path) -> Iterator[str]:
    return (file.relative_to(path).as_posix() for file in sorted(path.rglob("*")) if file.is_file())


def best(workdir: str | Path) -> Path | None:
    """The checkpoint with the greatest ``meta["score"]``, the newest of several; None where none was evaluated."""
    scores = {}
    for path in reversed(all_checkpoints(workdir)):
        try:
            scores[path] = float(read_meta(path).get("score"))  # type: ignore[arg-type]
        except (OSError, ValueError, TypeError):
            continue
    return max(scores, key=scores.__getitem__) if scores else None


def _prune(workdir: str | Path, keep: int, replaced: Path | None) -> None:
    kept = best(workdir)
    found = [path for path in all_checkpoints(workdir) if path != replaced]
    for path in [*found[:-keep], *filter(None, [replaced])]:
        if path != kept and path.is_dir():
            # Renamed first: deleting takes time, and half a checkpoint must not look like one.
            shutil.rmtree(path.rename(path.with_name(f"{_TEMPORARY}{path.name}")), ignore_errors=True)
