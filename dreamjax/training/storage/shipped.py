"""Agents that come with the package: what acting needs of a run, in one small folder.

``dreamjax/shipped/<name>/`` holds ``config.json``, ``agent.json`` (where the parameters come from, their SHA-256, what
the agent was measured at), ``params.npz`` (world model, actor and critic, an array for each leaf by its path) and
``README.md``. Only arrays and JSON are read: nothing in it can run code.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from dreamjax import files
from dreamjax.config import Config
from dreamjax.training.storage.checkpoint import CheckpointError, named_leaves
from dreamjax.training.storage.workdir import SHIPPED, UsageError, write_config
from dreamjax.types import Params

FACTS, PARAMS, README = "agent.json", "params.npz", "README.md"
PARTS = ("world_model", "actor", "critic")
MAX_BYTES = 5_000_000
Dtype = Literal["float32", "float16"]


def check_name(name: str) -> None:
    """Raises UsageError unless ``name`` can name a folder on every system."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(f"--name={name} is not allowed: must be small letters, digits and _, a letter first")


def is_shipped(path: str | Path) -> bool:
    """Whether ``path`` is the folder of a shipped agent rather than of a run."""
    return (Path(path) / FACTS).is_file()


def rounded(params: Params, dtype: Dtype) -> Params:
    """The acting parts of ``params`` as NumPy arrays with floats rounded to ``dtype``, stored in their own dtypes.

    Raises:
        UsageError: a value lies beyond what ``dtype`` can hold.
    """

    def through(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        if leaf.dtype != np.float32:
            return leaf
        with np.errstate(over="ignore"):
            result = leaf.astype(dtype).astype(leaf.dtype)
        if not np.isfinite(result[np.isfinite(leaf)]).all():
            raise UsageError(f"--dtype={dtype} is not allowed: parameters reach {float(np.abs(leaf).max()):g}")
        return result

    return jax.tree.map(through, {part: params[part] for part in PARTS})


def write(
    name: str,
    config: Config,
    params: Params,
    facts: dict[str, Any],
    readme: str,
    *,
    dtype: Dtype = "float32",
    root: Path = SHIPPED,
) -> Path:
    """Writes the folder whole or not at all, in the place of an earlier one of this name.

    Args:
        name: of the agent. config: of its run. params: ``TrainState.params``; only ``PARTS`` are kept.
        facts: small facts as JSON. readme: text for people.
        dtype: that float32 parameters are stored in.
        root: folder of all shipped agents.

    Returns:
        The folder.

    Raises:
        UsageError: the name is none, or the parameters take more than ``MAX_BYTES``, or do not fit ``dtype``.
        OSError: it cannot be written.
    """
    check_name(name)
    kept = rounded(params, dtype)
    arrays = {path: leaf.astype(dtype) if leaf.dtype == np.float32 else leaf for path, leaf in named_leaves(kept)}
    for path, leaf in arrays.items():
        if leaf.dtype.kind not in "fiub":  # NumPy would store bfloat16 as raw bytes
            raise UsageError(f"{path} is {leaf.dtype.name}: only parameters in NumPy's own dtypes can be shipped")
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    data = file.getvalue()
    if len(data) > MAX_BYTES:
        raise UsageError(f"the agent takes {len(data):,} bytes in {dtype}, and at most {MAX_BYTES:,} are shipped")
    with files.atomic_folder(root / name) as temporary:
        write_config(temporary, config)
        (temporary / PARAMS).write_bytes(data)
        stored = {"name": name, "sha256": files.sha256(data), "bytes": len(data), "dtype": dtype}
        (temporary / FACTS).write_text(json.dumps(stored | facts, indent=1) + "\n")
        (temporary / README).write_text(readme)
    return root / name


def read_facts(folder: Path) -> dict[str, Any]:
    """``agent.json``. Raises CheckpointError: it cannot be read."""
    try:
        return json.loads((folder / FACTS).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"the shipped agent in {folder} cannot be read: {error}") from error


def read(folder: Path, like: Params) -> tuple[Params, dict[str, Any]]:
    """Parameters and facts of a shipped agent, verified.

    Args:
        folder: of the agent. like: ``TrainState.params`` as arrays or shapes, as its configuration makes it.

    Returns:
        The ``PARTS`` of ``like`` as NumPy arrays in its dtypes, and ``agent.json``.

    Raises:
        CheckpointError: a file is missing or damaged, or holds other arrays than ``like``.
    """
    facts = read_facts(folder)
    try:
        data = (folder / PARAMS).read_bytes()
        intact = files.sha256(data) == facts["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the shipped agent in {folder} cannot be read: {error}") from error
    if not intact:
        raise CheckpointError(f"the shipped agent in {folder} is damaged: {PARAMS} has changed")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"the shipped agent in {folder} cannot be read: {error}") from error
    wanted = {part: like[part] for part in PARTS}
    shapes = {path: tuple(leaf.shape) for path, leaf in named_leaves(wanted)}
    for path in sorted(shapes.keys() | arrays.keys()):
        have = arrays[path].shape if path in arrays else "nothing"
        want = shapes.get(path, "nothing")
        if have != want:
            raise CheckpointError(f"the shipped agent in {folder} is of another model: {path} is {have}, not {want}")
    leaves = [arrays[path].astype(leaf.dtype) for path, leaf in named_leaves(wanted)]
    return jax.tree.unflatten(jax.tree.structure(wanted), leaves), facts
