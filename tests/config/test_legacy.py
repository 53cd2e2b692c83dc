"""Fields of earlier versions: read under today's names or ignored, with one line that says so."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from dreamjax.config import Config, ConfigError, legacy, presets
from dreamjax.config.schema import Options, option


@dataclass(frozen=True)
class Planner(Options):
    """A planner of today."""

    method: Literal["gumbel", "one_step", "piecewise"] = option("gumbel", "A method.")
    collect: bool = option(False, "Collect.")
    evaluate: bool = option(False, "Evaluate.")
    actions: int = option(32, "Actions.", above=0)
    bootstrap: float = option(1.0, "A weight.", at_least=0)
    maxvisit_init: float = option(50.0, "An offset.", at_least=0)


@dataclass(frozen=True)
class Optimizer(Options):
    """An optimizer of today."""

    lr: float = option(1e-3, "A rate.", above=0)
    warmup: int = option(0, "A time.", at_least=0)


@dataclass(frozen=True)
class Today(Options):
    """A configuration of today."""

    optimizer: Optimizer = field(default_factory=Optimizer)
    planner: Planner = field(default_factory=Planner)


def translate(values: dict[str, Any]) -> dict[str, Any]:
    return legacy.translate(values, Today)


def test_a_renamed_group_and_field_are_read_under_their_new_names() -> None:
    old = {"optimiser": {"lr": 2.0}, "planner": {"visit_offset": 1.0, "method": "held"}}
    with pytest.warns(FutureWarning) as told:
        new = translate(old)
    assert new == {"optimizer": {"lr": 2.0}, "planner": {"maxvisit_init": 1.0, "method": "piecewise"}}
    (warning,) = told
    assert str(warning.message) == (
        "old names of configuration fields, read for one more version: optimiser is now optimizer; "
        "planner.visit_offset is now planner.maxvisit_init; planner.method=held is now planner.method=piecewise"
    )
    assert old["planner"] == {"visit_offset": 1.0, "method": "held"}


def test_an_old_name_wins_over_the_new_one_which_may_be_a_default() -> None:
    with pytest.warns(FutureWarning, match="optimiser is now optimizer"):
        new = translate({"optimizer": {"lr": 1.0, "warmup": 5}, "optimiser": {"lr": 2.0}})
    assert new == {"optimizer": {"lr": 2.0, "warmup": 5}}


def test_todays_names_and_neutral_removed_fields_pass_without_a_word() -> None:
    values = {"optimizer": {"lr": 2.0}, "planner": {"method": "piecewise", "penalty": 0.0, "limit": 0}}
    values |= {"search": {"learn": "off", "method": "tree", "collect": False, "act_actions": 64, "bootstrap": 1.0}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert translate(values) == {"optimizer": {"lr": 2.0}, "planner": {"method": "piecewise"}}


def test_a_removed_field_is_ignored_with_a_warning_and_refused_at_the_command_line() -> None:
    with pytest.warns(
        FutureWarning, match=r"are ignored: search\.learn='add' \(.*\); planner\.penalty=0\.5 \("
    ) as told:
        assert translate({"planner": {"penalty": 0.5}, "search": {"learn": "add", "trace": 1.0}}) == {"planner": {}}
    assert len(told) == 1
    with pytest.raises(ConfigError, match=r"planner\.penalty=0\.5 is not allowed: the field was removed"):
        legacy.refuse_removed("planner.penalty", 0.5, Today)
    legacy.refuse_removed("planner.penalty", 0.0, Today)
    legacy.refuse_removed("planner.collect", True, Today)


def test_an_unknown_field_of_a_removed_group_stays_for_the_check_of_names() -> None:
    assert translate({"search": {"lern": "off"}}) == {"search": {"lern": "off"}}


def test_acting_by_search_is_the_planner_that_looks_one_step_ahead() -> None:
    old = {"search": {"collect": True, "act_actions": 8, "bootstrap": 0.0}, "planner": {"method": "held", "actions": 4}}
    with pytest.warns(FutureWarning, match=r"search\.collect is now planner\.collect with planner\.method=one_step"):
        new = translate(old)
    assert new == {"planner": {"method": "one_step", "collect": True, "actions": 8, "bootstrap": 0.0}}
    with pytest.warns(FutureWarning, match=r"search\.bootstrap is now planner\.bootstrap$"):
        assert translate({"search": {"bootstrap": 0.0}}) == {"planner": {"bootstrap": 0.0}}


def test_acting_by_search_here_and_by_a_planner_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"search\.collect=True is not allowed: the planner acts by 'gumbel' already"):
        translate({"search": {"collect": True}, "planner": {"method": "gumbel", "evaluate": True}})


def test_a_field_that_is_still_there_is_left_alone() -> None:
    names = {item.name for item in legacy.fields(Config)}
    assert "env" in names
    values = {"env": {"workers": 1}, "replay": {"capacity": 5}}
    assert legacy.translate(values, Config) == values


def test_presets_are_found_at_their_old_place() -> None:
    with pytest.warns(FutureWarning, match="dreamjax.presets has moved: import it by `from dreamjax.config import"):
        old = importlib.import_module("dreamjax.presets")
    assert old.dreamerv3 is presets.dreamerv3 and old.variants is presets.variants
