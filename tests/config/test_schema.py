"""Options: declared ranges and rules, conversion, groups, and what `ConfigError` says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest

from dreamjax.config import Config, ConfigError
from dreamjax.config.overrides import override, parse
from dreamjax.config.schema import Options, build, fields, merge, option


@dataclass(frozen=True)
class Part(Options):
    """A part."""

    rate: float = option(0.5, "A rate.", above=0, at_most=1)
    size: int = option(0, "A size.", unit="cells", at_least=2, zero="off")
    odd: int = option(3, "An odd number.", rule=("an odd number", lambda number: number % 2 == 1))

    def check(self) -> None:
        if self.size == 7:
            raise ConfigError("size=7 is not allowed: unlucky")


@dataclass(frozen=True)
class Whole(Options):
    """A whole."""

    kind: Literal["a", "b"] = option("a", "A kind.")
    mode: Literal["c", "d"] | None = option(None, "A mode.")
    free: float = option(0.0, "Any number.")
    count: int = option(1, "A count.", above=0)
    on: bool = option(False, "A switch.")
    items: tuple[float, ...] = option((), "Numbers.")
    names: Mapping[str, Any] = option({}, "Anything.")
    part: Part = field(default_factory=Part)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "c"}, "kind='c' is not allowed: must be one of ['a', 'b']"),
        ({"kind": 1}, "kind=1 is not allowed: must be one of ['a', 'b']"),
        ({"mode": "a"}, "mode='a' is not allowed: must be one of ['c', 'd']"),
        ({"free": float("inf")}, "free=inf is not allowed: must be finite"),
        ({"free": float("nan")}, "free=nan is not allowed: must be finite"),
        ({"free": "x"}, "free='x' is not allowed: must be a number"),
        ({"free": True}, "free=True is not allowed: must be a number"),
        ({"count": 0}, "count=0 is not allowed: must be above 0"),
        ({"count": 1.5}, "count=1.5 is not allowed: must be a whole number"),
        ({"on": 1}, "on=1 is not allowed: must be true or false"),
        ({"items": 1.0}, "items=1.0 is not allowed: must be a list"),
        ({"items": [1.0, "x"]}, "items='x' is not allowed: must be a number"),
        ({"names": 3}, "names=3 is not allowed: must be a group of fields"),
        ({"part": 3}, "part=3 is not allowed: must be a group of fields"),
        ({"part": {"rate": 0}}, "part.rate=0.0 is not allowed: must lie in (0, 1]"),
        ({"part": {"rate": 1.5}}, "part.rate=1.5 is not allowed: must lie in (0, 1]"),
        ({"part": {"size": 1}}, "part.size=1 is not allowed: must be 0 (off), or 2 or more"),
        ({"part": {"size": 7}}, "part.size=7 is not allowed: unlucky"),
        ({"part": {"odd": 4}}, "part.odd=4 is not allowed: must be an odd number"),
        ({"part": {"sizes": 1}}, "part.sizes is not a configuration field: did you mean part.size?"),
        ({"zzz": 1}, "zzz is not a configuration field: known here: count, free, items, kind, mode, names, on, part"),
    ],
)
def test_an_error_names_field_value_and_what_is_allowed(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build(Whole, values)
    assert str(raised.value) == message


def test_values_are_checked_however_an_instance_is_made() -> None:
    with pytest.raises(ConfigError, match=r"rate=2\.0 is not allowed"):
        Part(rate=2.0)
    with pytest.raises(ConfigError, match="rate='x' is not allowed"):
        dataclasses.replace(Part(), rate="x")


def test_bounds_are_inclusive_or_not_as_declared() -> None:
    assert Part(rate=1).rate == 1.0
    assert Part(size=0).size == 0 and Part(size=2).size == 2
    with pytest.raises(ConfigError):
        Part(rate=0)


def test_values_become_the_declared_type() -> None:
    whole = build(Whole, {"free": 1, "count": 2.0, "items": [1, 2.5], "names": {"x": {"y": 1}}, "mode": None})
    assert (whole.free, whole.count, whole.items) == (1.0, 2, (1.0, 2.5))
    assert (type(whole.free), type(whole.count), type(whole.items[0])) == (float, int, float)
    number = build(Whole, {"count": np.int64(3), "free": np.float32(0.5)})
    assert (type(number.count), type(number.free)) == (int, float)


def test_a_default_mapping_is_not_shared() -> None:
    assert Whole().names == {} and Whole().names is not Whole().names


def test_fields_tell_what_they_allow() -> None:
    told = {field.name: field.allowed for group in (Whole, Part) for field in fields(group)}
    assert told == {
        "kind": "one of a, b", "mode": "one of c, d, or none", "free": "a number", "count": "a whole number, above 0",
        "on": "true or false", "items": "a list of numbers", "names": "a group of fields", "part": "a group of fields",
        "rate": "a number, in (0, 1]", "size": "a whole number, 0 (off), or 2 or more",
        "odd": "a whole number, an odd number",
    }  # fmt: skip
    assert [(field.name, field.option.unit) for field in fields(Part) if field.option] == [
        ("rate", ""), ("size", "cells"), ("odd", "")
    ]  # fmt: skip


def every_option(group: type[Options] = Config, path: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for item in fields(group):
        nested = isinstance(item.hint, type) and issubclass(item.hint, Options)
        found += every_option(item.hint, f"{path}{item.name}.") if nested else [(path + item.name, item)]
    return found


def test_every_field_of_the_configuration_has_a_meaning_and_numbers_a_range() -> None:
    for name, item in every_option():
        assert item.option is not None and item.option.meaning.endswith("."), name
        assert item.hint not in (int, float) or item.option.range or item.option.rule, name
        assert item.allowed, name


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (int, "1e3", 1000), (int, "1.5", "1.5"), (int, "nan", "nan"), (float, "1e-3", 1e-3), (float, "x", "x"),
        (bool, "Yes", True), (bool, "0", False), (bool, "maybe", "maybe"), (str, "1", "1"), (int | None, "none", None),
        (int | None, "3", 3), (tuple[float, ...], "(1, 2.5)", (1.0, 2.5)), (tuple[str, ...], "a,b", ("a", "b")),
        (Any, "{'a': 1}", {"a": 1}), (Any, "true", True), (Any, "word", "word"), (Literal["1"], "1", "1"),
    ],
)  # fmt: skip
def test_texts_are_read_as_the_fields_type(hint: Any, text: str, value: Any) -> None:
    assert parse(hint, text) == value and type(parse(hint, text)) is type(value)


def test_an_override_replaces_one_value_and_leaves_what_it_was_given() -> None:
    values = {"env": {"kwargs": {"a": 1, "b": {"c": 2}}}, "seed": 1}
    changed = override(values, {"env.kwargs.b.c": "3", "loss.gamma": "0.5"})
    assert changed == {"env": {"kwargs": {"a": 1, "b": {"c": 3}}}, "seed": 1, "loss": {"gamma": 0.5}}
    assert values["env"] == {"kwargs": {"a": 1, "b": {"c": 2}}}
    assert override(values, {"env.kwargs": "{'d': 4}"})["env"]["kwargs"] == {"d": 4}
    with pytest.raises(ConfigError, match=r"seed\.x is not a configuration field: seed has no fields"):
        override(values, {"seed.x": "1"})


def test_merging_copies_and_later_entries_win() -> None:
    first, second = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}, "d": {"e": 5}}
    assert merge(first, second) == {"a": {"b": 4, "c": 2}, "d": {"e": 5}}
    assert first == {"a": {"b": 1, "c": 2}, "d": 3}


@pytest.mark.parametrize(
    "text", ["{'big': True, 'size': [8, 8], 'name': None}", '{"big": true, "size": [8, 8], "name": null}']
)
def test_groups_are_read_from_python_and_from_json(text: str) -> None:
    wanted = {"big": True, "size": [8, 8], "name": None}
    assert override({}, {"env.kwargs": text})["env"]["kwargs"] == wanted
    assert override({}, {"env.kwargs.a": "true", "env.kwargs.b": "[1, null]", "env.kwargs.c": "none"})["env"] == {
        "kwargs": {"a": True, "b": [1, None], "c": None}
    }
