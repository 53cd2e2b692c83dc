"""Values of fields from the command line: ``--config.FIELD=VALUE``."""

from __future__ import annotations

import ast
import json
import typing
from collections.abc import Mapping
from typing import Any, Literal

from dreamjax.config import legacy
from dreamjax.config.config import Config
from dreamjax.config.schema import ConfigError, fields, is_group, is_mapping, without_none


def override(values: Mapping[str, Any], overrides: Mapping[str, str]) -> dict[str, Any]:
    """A copy of nested ``values`` with overrides: texts by dotted name, each read as the type of its field.

    A text that is none of that type stays a text, which ``from_dict`` refuses with the field's allowed values.

    Raises:
        ConfigError: a name goes into a field that has no fields, or is that of a removed field.
    """
    result = legacy.translate(values)  # first, so that an override wins over an old name in a file
    for name, text in overrides.items():
        value = parse(_hint(name), text)
        legacy.refuse_removed(name, value)
        group = result
        *parents, last = name.split(".")
        for parent in parents:
            if not isinstance(group.get(parent), dict):
                group[parent] = {}
            group = group[parent]
        group[last] = value
    return result


def _hint(name: str) -> Any:
    """The type of a dotted field; Any inside free mappings and for unknown names."""
    hint: Any = Config
    for part in name.split("."):
        if hint is Any or is_mapping(hint):
            return Any
        if not is_group(hint):
            raise ConfigError(f"{name} is not a configuration field: {name.rpartition('.')[0]} has no fields")
        hint = {field.name: field.hint for field in fields(hint)}.get(part, Any)
    return hint


def parse(hint: Any, text: str) -> Any:
    """``text`` as a value of the type ``hint``, or unchanged where it is none."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if inner := without_none(hint):
        return None if text.lower() in ("none", "null", "") else parse(inner, text)
    if origin is Literal or hint is str:
        return text
    if hint is bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        return words.get(text.lower(), text)
    if hint in (int, float):
        return _number(hint, text)
    if origin is tuple:
        return tuple(parse(options[0], item) for item in text.strip("()[] ").replace(",", " ").split())
    return literal(text)


def literal(text: str) -> Any:
    """``text`` as a Python literal or as JSON, or unchanged where it is neither."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        pass
    try:
        return json.loads(text)
    except ValueError:
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def _number(kind: type, text: str) -> float | int | str:
    """Reads 1e6 as an int where one is asked for."""
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        return text
    return int(value) if value.is_integer() else text
