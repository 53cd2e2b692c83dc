"""Frozen dataclasses as groups of configuration fields: checks of their values, and building them from dictionaries."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that cannot be run; the message names the field, the value and what is allowed."""


def require(condition: bool, name: str, value: Any, allowed: str) -> None:
    """Raises ConfigError unless ``condition`` holds."""
    if not condition:
        raise ConfigError(f"{name}={value!r} is not allowed: {allowed}")


def positive(config: Any, *names: str) -> None:
    """Raises ConfigError unless these fields are finite and above 0."""
    for name in names:
        value = getattr(config, name)
        require(math.isfinite(value) and value > 0, name, value, "must be above 0")


def not_negative(config: Any, *names: str) -> None:
    """Raises ConfigError unless these fields are finite and 0 or more."""
    for name in names:
        value = getattr(config, name)
        require(math.isfinite(value) and value >= 0, name, value, "must be 0 or more")


def fraction(config: Any, *names: str) -> None:
    """Raises ConfigError unless these fields lie in [0, 1]."""
    for name in names:
        value = getattr(config, name)
        require(0 <= value <= 1, name, value, "must lie in [0, 1]")


def share(config: Any, *names: str) -> None:
    """Raises ConfigError unless these fields lie in (0, 1]."""
    for name in names:
        value = getattr(config, name)
        require(0 < value <= 1, name, value, "must lie in (0, 1]")


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries merged from left to right; later entries win."""
    result: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if isinstance(value, Mapping) and isinstance(result.get(name), Mapping):
                result[name] = merge(result[name], value)
            else:
                result[name] = merge(value) if isinstance(value, Mapping) else value
    return result


def build(cls: type[T], values: Mapping[str, Any], path: str = "") -> T:
    """An instance of a dataclass from a nested dictionary; ``path`` (empty, or ending with a dot) begins its fields' names.

    Raises:
        ConfigError: on an unknown field, a wrong type or an impossible value.
    """
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {path}{near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
            raise ConfigError(f"{path}{name} is not a configuration field: {hint}")
    kwargs = {name: _convert(hints[name], value, path + name) for name, value in values.items()}
    try:
        return cls(**kwargs)
    except ConfigError as error:
        message = str(error)
        raise ConfigError(message if not path or message.startswith(path) else path + message) from None


def _convert(hint: Any, value: Any, name: str) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name}={value!r} is not allowed: must be a group of fields")
        return build(typing.cast(type, hint), value, name + ".")
    if origin is Literal:
        require(value in options, name, value, f"must be one of {list(options)}")
        return value
    if origin is types.UnionType:
        if value is None:
            return None
        return _convert(next(option for option in options if option is not type(None)), value, name)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{name}={value!r} is not allowed: must be a list")
        return tuple(_convert(options[0], item, name) for item in value)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name}={value!r} is not allowed: must be a group of fields")
        return merge(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(
            f"{name}={value!r} is not allowed: must be of type {hint.__name__}, not {type(value).__name__}"
        )
    return value
