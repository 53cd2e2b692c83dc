"""``--config.FIELD=VALUE``: text from the command line as values of the types that the fields have."""

from __future__ import annotations

import ast
import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from dreamjax.config import Config, ConfigError
from dreamjax.training.workdir import UsageError

PREFIX = "--config."
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def split_overrides(arguments: Sequence[str]) -> dict[str, str]:
    """``--config.a.b=value`` or ``--config.a.b value`` arguments as ``{"a.b": "value"}``; later ones win.

    Raises:
        UsageError: on any other argument, or one without a value.
    """
    overrides: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith(PREFIX):
            raise UsageError(f"unknown argument {argument} (see --help)")
        name, equals, value = argument[len(PREFIX) :].partition("=")
        if not equals:
            following = next(rest, None)
            if following is None or following.startswith("--"):
                raise UsageError(f"{argument} needs a value: {argument}=VALUE")
            value = following
        overrides[name] = value
    return overrides


def override(values: Mapping[str, Any], overrides: Mapping[str, str]) -> dict[str, Any]:
    """A copy of ``values`` with each override, read as the type of its field.

    Raises:
        ConfigError: a value cannot be read as the type; the message names field, value and type.
    """
    result = _copied(values)
    for name, text in overrides.items():
        value = _parse(_hint(name), text, name)
        group = result
        *parents, last = name.split(".")
        for parent in parents:
            if not isinstance(group.get(parent), dict):
                group[parent] = {}
            group = group[parent]
        group[last] = value
    return result


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _copied(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def _hint(name: str) -> Any:
    """The type of a dotted field; Any inside free mappings and for unknown names, which ``from_dict`` reports."""
    hint: Any = Config
    for part in name.split("."):
        if not dataclasses.is_dataclass(hint):
            if hint is Any or _is_mapping(hint):
                return Any
            raise ConfigError(f"{name} is not a configuration field: {name.rpartition('.')[0]} has no fields")
        hint = typing.get_type_hints(hint).get(part, Any)
    return hint


def _is_mapping(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _parse(hint: Any, text: str, name: str) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if text.lower() in ("none", "null", ""):
            return None
        return _parse(next(option for option in options if option is not type(None)), text, name)
    if origin is Literal or hint is str:
        return text
    if hint is bool:
        if text.lower() not in BOOLEANS:
            raise ConfigError(f"{name}={text!r} is not allowed: must be true or false")
        return BOOLEANS[text.lower()]
    if hint in (int, float):
        return _number(hint, text, name)
    if origin is tuple:
        return tuple(_parse(options[0], item, name) for item in text.strip("()[] ").replace(",", " ").split())
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def _number(kind: type, text: str, name: str) -> float | int:
    """Reads 1e6 as an int where one is wanted."""
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        pass
    try:
        value = float(text)
        if kind is int and value.is_integer():
            return int(value)
    except ValueError:
        pass
    wanted = "a whole number" if kind is int else "a number"
    raise ConfigError(f"{name}={text!r} is not allowed: must be {wanted}")
