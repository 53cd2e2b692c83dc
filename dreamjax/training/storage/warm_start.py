"""Starting a run from the parameters of another."""

from __future__ import annotations

import dataclasses
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.config import InitFromConfig
from dreamjax.training.storage import checkpoint
from dreamjax.training.storage.workdir import UsageError
from dreamjax.types import Params, TrainState


def chosen(names: list[str], patterns: tuple[str, ...]) -> list[str]:
    """The dotted names that a pattern matches, whole or up to one of their dots.

    Raises:
        UsageError: a pattern matches none; the message says which first parts there are.
    """
    found = {p: {n for n in names if fnmatchcase(n, p) or fnmatchcase(n, f"{p}.*")} for p in patterns}
    for pattern, matched in found.items():
        if not matched:
            known = ", ".join(sorted({name.split(".")[0] for name in names}))
            raise UsageError(
                f"init_from.modules={pattern!r} is not allowed: no parameter has that name; there are {known}"
            )
    return [name for name in names if any(name in matched for matched in found.values())]


class WarmStart(NamedTuple):
    """Parameters ``taken`` (arrays by dotted name) from the checkpoint ``path``."""

    path: Path
    taken: dict[str, np.ndarray]


def read(config: InitFromConfig, like: Params) -> WarmStart | None:
    """The parameters that ``config.modules`` names from ``config.path``; None where that is empty.

    Args:
        like: all parameters of the model, as arrays or shapes.

    Raises:
        UsageError: there is no such checkpoint, it is damaged, a pattern matches nothing, or a parameter differs there.
    """
    if not config.path:
        return None
    path = Path(config.path)
    leaves = dict(checkpoint.named_leaves(like))
    taken = chosen(list(leaves), config.modules)
    try:
        if not (path / checkpoint.MANIFEST).is_file():
            path = checkpoint.intact(path, "params", checkpoint.META)
        return WarmStart(path, checkpoint.restore_some(path, {name: leaves[name] for name in taken}))
    except checkpoint.CheckpointError as error:
        raise UsageError(f"init_from.path={config.path!r} is not allowed: {error}") from error


def apply(start: WarmStart, state: TrainState) -> TrainState:
    """``state`` with the parameters taken; everything else is fresh: optimizers, return scale, counters, keys.

    A slow critic begins as its critic where any of that was taken.
    """
    merged = [jnp.asarray(start.taken.get(name, leaf)) for name, leaf in checkpoint.named_leaves(state.params)]
    params = jax.tree.unflatten(jax.tree.structure(state.params), merged)
    taken = {name.split(".")[0] for name in start.taken}
    slow, explorer = state.slow_critic, state.explorer
    if "critic" in taken:
        slow = jax.tree.map(jnp.copy, params["critic"])
    if "explorer_critic" in taken and explorer is not None:
        explorer = dataclasses.replace(explorer, slow_critic=jax.tree.map(jnp.copy, params["explorer_critic"]))
    return dataclasses.replace(state, params=params, slow_critic=slow, explorer=explorer)
