"""Saved configurations of the version before: acting by one step of search is now a method of the planner."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from dreamjax.config.schema import merge


def without_removed(values: Mapping[str, Any]) -> dict[str, Any]:
    """A nested dictionary of fields without those that were removed from planning.

    ``search.collect`` and ``search.evaluate`` become ``planner.method="one_step"``, ``planner.method="held"`` becomes
    "piecewise". A removed field at a value that had an effect is ignored with a warning.
    """
    values = merge(values)
    search, planner = values.pop("search", {}), dict(values.get("planner", {}))
    if planner.get("method") == "held":
        planner["method"] = "piecewise"
    for name in ("bootstrap", "act_temperature"):
        if name in search:
            planner.setdefault(name, search[name])
    acts = [name for name in ("collect", "evaluate") if search.get(name)]
    if acts and not (planner.get("collect") or planner.get("evaluate")):
        planner |= {"method": "one_step", "actions": search.get("act_actions", 64), **dict.fromkeys(acts, True)}
        _warn(f"search.{acts[0]} is now planner.{acts[0]} with planner.method='one_step'")
    if search.get("learn", "off") != "off":
        _warn(f"search.learn={search['learn']!r} was removed and is ignored")
    for name in ("penalty", "limit"):
        if value := planner.pop(name, 0):
            _warn(f"planner.{name}={value!r} was removed and is ignored")
    return {**values, "planner": planner} if planner else values


def _warn(message: str) -> None:
    warnings.warn(message, FutureWarning, stacklevel=4)
