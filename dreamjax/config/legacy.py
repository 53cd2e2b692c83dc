"""Fields of earlier versions: renamed ones are read under their new name, removed ones are ignored, with a warning.

Old saved configurations, configuration files and command lines are read so for one more version.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from dreamjax.config.schema import ConfigError, merge

RENAMED = {
    "optimiser": "optimizer",
    "env.timeout": "env.warn_after",
    "env.hang_limit": "env.abort_after",
    "replay.even": "replay.uniform_fraction",
    "critic.slow_regulariser": "critic.slow_regularizer",
    "model.reach": "model.edit_radius",
    "loss.reach": "loss.symlog_limit",
    "planner.considered": "planner.max_num_considered_actions",
    "planner.visit_offset": "planner.maxvisit_init",
}
"""New dotted names by old ones; the name of a group stands for all of its fields."""

RENAMED_VALUES = {
    "replay.sampler": {"prioritised": "prioritized"},
    "planner.method": {"held": "piecewise", "mppi": "cem"},
}
"""New values by old ones, of fields by dotted name."""


class Removed(NamedTuple):
    """A removed field: the values that mean the same without it, and a note on what to do instead."""

    neutral: tuple[Any, ...]
    note: str


REMOVED = {
    "search.learn": Removed(("off",), "targets from search did not pay: imagination alone measured better"),
    "planner.temperature": Removed((0.5,), "it was of planner.method=mppi; cem measured as well"),
    "planner.penalty": Removed((0,), "plans cleared fewer lines with it"),
    "planner.limit": Removed((0,), "plans cleared fewer lines with it"),
    "ensemble.bonus": Removed((0,), "explore.steps explores by disagreement"),
    "ensemble.extrinsic": Removed((1,), "explore.steps explores by disagreement"),
    "ensemble.penalty": Removed((0,), "no gain was measured"),
    "ensemble.limit": Removed((0,), "no gain was measured"),
    "actor.imitation": Removed((0,), "no gain was measured"),
    "replay.priority_beta": Removed((0,), "no configuration used it"),
    "imagination.draw": Removed((0,), "as many rollouts are drawn as were imagined"),
    "parallel.preallocate": Removed((False,), "memory_fraction bounds the memory that is taken as needed"),
    "log.coverage": Removed((0,), "experiments.coverage counts boards by itself"),
}
"""Removed fields by dotted name."""

LEARNED_SEARCH = ("method", "simulations", "actions", "last", "temperature", "trace", "prior")
"""Removed fields that only ``search.learn`` used."""

MISSING = object()


def translate(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested ``values`` with today's names; where an old and a new name are both there, the old one is taken.

    Warns once of all old names, and once of all removed fields that are set to more than their neutral value.

    Raises:
        ConfigError: fields of the removed group ``search`` ask for what the planner cannot do.
    """
    result = merge(values)
    changes = _act_by_one_step(result)
    for old, new in RENAMED.items():
        value = _pop(result, old)
        if value is not MISSING:
            _set(result, new, value)
            changes.append(f"{old} is now {new}")
    for name, names in RENAMED_VALUES.items():
        value = _get(result, name)
        if isinstance(value, str) and value in names:
            _set(result, name, names[value])
            changes.append(f"{name}={value} is now {name}={names[value]}")
    if changes:
        _warn(f"old names of configuration fields, read for one more version: {'; '.join(changes)}")
    ignored = []
    for name, removed in REMOVED.items():
        value = _pop(result, name)
        if value is not MISSING and value not in removed.neutral:
            ignored.append(f"{name}={value!r} ({removed.note})")
    if isinstance(search := result.get("search"), dict):
        result["search"] = {name: value for name, value in search.items() if name not in LEARNED_SEARCH}
        if not result["search"]:
            del result["search"]
    if ignored:
        _warn(f"removed configuration fields are ignored: {'; '.join(ignored)}")
    return result


def merge_layers(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """``merge`` of layers that may use old names: a later layer wins, whichever name it uses. Warns as ``translate``."""
    return merge(*map(translate, layers))


def refuse_removed(name: str, value: Any) -> None:
    """Raises ConfigError if ``name`` is a removed field, unless ``value`` is its neutral one."""
    if name.startswith("search.") and name.removeprefix("search.") in LEARNED_SEARCH:
        raise ConfigError(f"{name}={value!r} is not allowed: the field was removed with search.learn")
    removed = REMOVED.get(name)
    if removed is not None and value not in removed.neutral:
        raise ConfigError(f"{name}={value!r} is not allowed: the field was removed ({removed.note})")


def _act_by_one_step(values: dict[str, Any]) -> list[str]:
    """Turns ``search.collect`` and ``search.evaluate`` into the planner's method ``one_step``; returns what was renamed."""
    search, planner = values.get("search"), values.get("planner", {})
    if not isinstance(search, dict) or not isinstance(planner, dict):
        return []
    changes = []
    for name, default in (("bootstrap", 1.0), ("act_temperature", 0.1)):
        if name in search:
            value = search.pop(name)
            if planner.get(name, default) != value:
                changes.append(f"search.{name} is now planner.{name}")
                planner = planner | {name: value}
    acting = [name for name in ("collect", "evaluate") if search.pop(name, False)]
    actions = search.pop("act_actions", 64)
    if not acting:
        if actions != 64:
            changes.append("search.act_actions is now planner.actions with planner.method=one_step")
        values |= {"planner": planner} if changes else {}
        return changes
    if any(planner.get(name) for name in ("collect", "evaluate")) and planner.get("method") != "one_step":
        raise ConfigError(
            f"search.{acting[0]}=True is not allowed: the planner acts by {planner.get('method', 'gumbel')!r} already"
        )
    values["planner"] = planner | {"method": "one_step", "actions": actions} | dict.fromkeys(acting, True)
    return changes + [f"search.{name} is now planner.{name} with planner.method=one_step" for name in acting]


def _warn(text: str) -> None:
    # At the level of this line, so that Python's filter shows each text once however many callers read it.
    warnings.warn(text, FutureWarning, stacklevel=1)


def _get(values: Any, name: str) -> Any:
    for part in name.split("."):
        values = values.get(part, MISSING) if isinstance(values, dict) else MISSING
    return values


def _pop(values: dict[str, Any], name: str) -> Any:
    """Takes a value out of nested ``values``; MISSING where it is not there."""
    value = _get(values, name)
    if value is not MISSING:
        parent, _, last = name.rpartition(".")
        del (_get(values, parent) if parent else values)[last]
    return value


def _set(values: dict[str, Any], name: str, value: Any) -> None:
    for part in reversed(name.split(".")):
        value = {part: value}
    merged = merge(values, value)
    values.clear()
    values.update(merged)
