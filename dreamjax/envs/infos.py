"""The ``infos`` of a vector environment: numbers to log, action masks, and the final infos of SAME_STEP.

Gymnasium stores one array ``[N]`` per name, with a presence mask ``_name`` if not all environments have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamjax.envs.checks import EnvError
from dreamjax.types import MASK_KEY

Infos = Mapping[str, Any]
NOT_NUMBERS = (MASK_KEY, "episode", "final_info", "final_obs", "final_observation")


def numbers(infos: Infos, num_envs: int) -> dict[str, np.ndarray]:
    """Returns the single numbers in ``infos``, float64 ``[N]`` by name; NaN where an environment has none.

    Names in nested dictionaries are joined by "/". ``episode``, in which Gymnasium's wrapper repeats return and length, is
    left out.
    """
    result: dict[str, np.ndarray] = {}
    for name, value in infos.items():
        if name.startswith("_") or name in NOT_NUMBERS:
            continue
        if isinstance(value, Mapping):
            result |= {f"{name}/{inner}": array for inner, array in numbers(value, num_envs).items()}
            continue
        array, present = np.asarray(value), _present(infos, name, num_envs)
        if array.dtype == object and array.shape == (num_envs,):
            array, present = _as_floats(array, present)
        if array.shape in ((num_envs,), (num_envs, 1)) and array.dtype.kind in "biuf" and present.any():
            result[name] = np.where(present, array.reshape(num_envs), np.nan)
    return result


def _as_floats(values: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns objects ``[N]`` as floats, and which of them are numbers: Gymnasium keeps NumPy's booleans as objects."""
    kinds = (bool, int, float, np.bool_, np.number)
    good = present & np.array([isinstance(value, kinds) for value in values])
    return np.array([float(value) if is_good else 0.0 for value, is_good in zip(values, good, strict=True)]), good


def overwrite(old: dict[str, np.ndarray], new: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    """Returns ``old`` with ``rows`` (bool ``[N]``) taken from ``new``; names missing in one of them are NaN there."""
    names = dict.fromkeys([*old, *new])
    return {name: np.where(rows, new.get(name, np.nan), old.get(name, np.nan)) for name in names}


def mask_size(infos: Infos) -> int | None:
    """Returns the number of entries of the action mask in ``infos``, or None if there is no mask."""
    if MASK_KEY not in infos:
        return None
    row = next((row for row in np.asarray(infos[MASK_KEY]) if row is not None), None)
    return None if row is None else int(np.asarray(row).size)


def masks(infos: Infos, num_envs: int, size: int) -> np.ndarray:
    """Returns the legal classes, bool ``[N, size]``; all True where an environment has no mask.

    Raises:
        EnvError: if a mask has another size.
    """
    result = np.ones((num_envs, size), bool)
    if MASK_KEY in infos:
        present = _present(infos, MASK_KEY, num_envs)
        array = np.asarray(infos[MASK_KEY])
        if array.dtype != object and array.size == result.size:
            return np.where(present[:, None], array.reshape(num_envs, size) != 0, True)
        for row, mask in enumerate(array):
            if present[row] and mask is not None:
                legal = np.asarray(mask).reshape(-1) != 0
                if len(legal) != size:
                    raise EnvError(f"environment {row}: info[{MASK_KEY!r}] has {len(legal)} entries, not {size}")
                result[row] = legal
    return result


def final_infos(infos: Infos, num_envs: int) -> Infos:
    """Returns the infos of terminal observations (SAME_STEP) in the layout of ``infos``.

    ``final_info`` has this layout, or in older environments is an object array ``[N]`` of dictionaries.
    """
    final = infos.get("final_info", {})
    if isinstance(final, Mapping):
        return final
    result: dict[str, Any] = {}
    for row, info in enumerate(final):
        for name, value in (info or {}).items():
            if name not in result:
                result[name] = np.full(num_envs, None, object)
                result["_" + name] = np.zeros(num_envs, bool)
            result[name][row] = value
            result["_" + name][row] = True
    for name, value in result.items():
        if value.dtype == object and all(np.isscalar(item) for item in value[result["_" + name]]):
            result[name] = np.array([0 if item is None else item for item in value])
    return result


def _present(infos: Infos, name: str, num_envs: int) -> np.ndarray:
    return np.asarray(infos.get("_" + name, np.ones(num_envs, bool)), bool)
