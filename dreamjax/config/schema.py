"""Options: fields of frozen dataclasses that carry their meaning, unit and allowed values next to their default.

    @dataclass(frozen=True)
    class LossConfig(Options):
        gamma: float = option(0.997, "Discount of one environment step.", above=0, below=1)

Every instance checks its values when it is made, from Python as from a file or the command line. A value that is not
allowed raises ``ConfigError`` with the field, the value and what is allowed.

The form is our own because the libraries at hand cover less: ``ml_collections.config_flags`` and ``tyro`` know types but
neither ranges nor units, and both need a valid configuration before the overrides that may make it one.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

T = TypeVar("T")
TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
NOT_A_GROUP = "must be a group of fields"


class ConfigError(ValueError):
    """A configuration that cannot be run; the message names the field, the value and what is allowed."""


def require(condition: bool, name: str, value: Any, allowed: str) -> None:
    """Raises ConfigError unless ``condition`` holds."""
    if not condition:
        raise ConfigError(f"{name}={value!r} is not allowed: {allowed}")


@dataclasses.dataclass(frozen=True)
class Option:
    """What a field declares about itself; see ``option``."""

    meaning: str
    unit: str = ""
    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    zero: str = ""
    rule: tuple[str, Callable[[Any], bool]] | None = None

    @property
    def range(self) -> str:
        """The interval of allowed numbers in words, or "" where there is none."""
        low = self.at_least if self.above is None else self.above
        high = self.at_most if self.below is None else self.below
        if low is None:
            return ""
        if high is not None:
            left, right = "[" if self.above is None else "(", "]" if self.below is None else ")"
            return f"in {left}{_number(low)}, {_number(high)}{right}"
        words = f"above {_number(low)}" if self.above is not None else f"{_number(low)} or more"
        return f"0 ({self.zero}), or {words}" if self.zero and low > 0 else words

    def check(self, name: str, value: Any) -> None:
        """Raises ConfigError unless ``value``, which is of the field's type, is allowed."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            words = self.range
            verb = "lie" if words.startswith("in ") else "be"
            require(self._in_range(value), name, value, f"must {verb} {words or 'finite'}")
        if self.rule is not None:
            words, holds = self.rule
            require(holds(value), name, value, f"must be {words}")

    def _in_range(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if self.zero and value == 0:
            return True
        return (
            (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
        )


def option(
    default: T,
    meaning: str,
    *,
    unit: str = "",
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    zero: str = "",
    rule: tuple[str, Callable[[Any], bool]] | None = None,
) -> T:
    """A field of a group of options.

    Args:
        default: its value where nobody sets it; a mapping is copied for each instance.
        meaning: what it does, in one sentence or more. unit: of its value.
        above, at_least, below, at_most: bounds of a number, the first and third of them exclusive. Numbers are finite.
        zero: what 0 stands for; where it is given, 0 is allowed whatever the bounds are.
        rule: a condition that no bounds express, as what the value "must be" and a function that tells.

    Returns:
        A dataclass field (typed as its default, as ``dataclasses.field`` is).
    """
    metadata = {"option": Option(meaning, unit, above, at_least, below, at_most, zero, rule)}
    if isinstance(default, Mapping):
        return dataclasses.field(default_factory=lambda: typing.cast(T, merge(default)), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Options:
    """A group of options: a frozen dataclass whose instances convert and check their values when they are made.

    A whole number is taken where a number is asked for, a float without a fraction where a whole number is, and a list
    where a tuple is.

    Raises:
        ConfigError: a value is of another type or is not allowed.
    """

    def __post_init__(self) -> None:
        for field in fields(type(self)):
            value = convert(field.hint, getattr(self, field.name), field.name)
            object.__setattr__(self, field.name, value)
            if field.option is not None and value is not None:
                field.option.check(field.name, value)
        self.check()

    def check(self) -> None:
        """Raises ConfigError if fields do not go together."""


class Field(typing.NamedTuple):
    """One field of a group; ``option`` is None where it is a group itself."""

    name: str
    hint: Any
    default: Any
    option: Option | None

    @property
    def allowed(self) -> str:
        """What values it takes, in words."""
        words = "" if self.option is None else self.option.range
        if self.option is not None and self.option.rule is not None:
            words = self.option.rule[0]
        if self.option is not None and self.option.zero and not words.startswith("0 ("):
            words += f"; 0: {self.option.zero}"
        return ", ".join(filter(None, (_type_name(self.hint), words)))


def fields(cls: type[Options]) -> tuple[Field, ...]:
    """The fields of a group, in the order they are declared."""
    return _fields(typing.cast(Any, cls))


@functools.cache
def _fields(cls: Any) -> tuple[Field, ...]:
    hints = typing.get_type_hints(cls)
    return tuple(
        Field(
            field.name,
            hints[field.name],
            field.default if field.default_factory is dataclasses.MISSING else field.default_factory(),
            field.metadata.get("option"),
        )
        for field in dataclasses.fields(cls)
    )


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
    """A group of options from a nested dictionary; ``path`` (empty, or ending with a dot) begins its fields' names.

    Raises:
        ConfigError: on an unknown field, a wrong type or a value that is not allowed.
    """
    hints = {field.name: field.hint for field in fields(typing.cast(type[Options], cls))}
    for name in values:
        if name not in hints:
            near = difflib.get_close_matches(str(name), hints, n=1)
            known = f"did you mean {path}{near[0]}?" if near else f"known here: {', '.join(sorted(hints))}"
            raise ConfigError(f"{path}{name} is not a configuration field: {known}")
    arguments = {
        name: build(hints[name], value, f"{path}{name}.")
        if is_group(hints[name]) and isinstance(value, Mapping)
        else value
        for name, value in values.items()
    }
    try:
        return cls(**arguments)
    except ConfigError as error:
        raise ConfigError(f"{path}{error}") from None


def is_group(hint: Any) -> bool:
    """Whether a field of this type is a group of fields."""
    return isinstance(hint, type) and issubclass(hint, Options)


def is_mapping(hint: Any) -> bool:
    """Whether a field of this type takes any names."""
    origin = typing.get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def without_none(hint: Any) -> Any:
    """``X`` where a field is of the type ``X | None``, or None."""
    if typing.get_origin(hint) not in (types.UnionType, typing.Union):
        return None
    return next(option for option in typing.get_args(hint) if option is not type(None))


def convert(hint: Any, value: Any, name: str) -> Any:
    """``value`` as the type ``hint`` of the field ``name``. Raises ConfigError if it is none of that type."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if is_group(hint):
        require(isinstance(value, hint), name, value, NOT_A_GROUP)
        return value
    if is_mapping(hint):
        require(isinstance(value, Mapping), name, value, NOT_A_GROUP)
        return merge(value)
    if inner := without_none(hint):
        return None if value is None else convert(inner, value, name)
    if origin is Literal:
        require(isinstance(value, str) and value in options, name, value, f"must be one of {list(options)}")
        return value
    if origin is tuple:
        require(isinstance(value, list | tuple), name, value, "must be a list")
        return tuple(convert(options[0], item, name) for item in value)
    allowed = f"must be {TYPE_NAMES[hint]}"
    if hint is int or hint is float:
        kind = numbers.Integral if hint is int and not isinstance(value, float) else numbers.Real
        require(isinstance(value, kind) and not isinstance(value, bool), name, value, allowed)
        require(hint is float or not isinstance(value, float) or value.is_integer(), name, value, allowed)
        return hint(value)
    require(isinstance(value, hint), name, value, allowed)
    return value


def _number(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() else f"{bound:g}"


def _type_name(hint: Any) -> str:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if is_group(hint) or is_mapping(hint):
        return "a group of fields"
    if inner := without_none(hint):
        return f"{_type_name(inner)}, or none"
    if origin is Literal:
        return f"one of {', '.join(options)}"
    if origin is tuple:
        return f"a list of {'numbers' if options[0] is float else 'texts'}"
    return TYPE_NAMES[hint]
