"""Fields of earlier versions: read under today's names or ignored, with one line that says so."""

from __future__ import annotations

import dataclasses
import importlib
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from dreamjax.config import Config, ConfigError, from_dict, legacy, merge, presets, to_dict
from dreamjax.config.overrides import override
from dreamjax.configs import load_config
from dreamjax.training.storage.workdir import read_config


def test_a_renamed_group_and_field_are_read_under_their_new_names() -> None:
    old = {"optimiser": {"actor_lr": 2.0}, "planner": {"visit_offset": 1.0, "method": "held"}}
    with pytest.warns(FutureWarning) as told:
        new = legacy.translate(old)
    assert new == {"optimizer": {"actor_lr": 2.0}, "planner": {"maxvisit_init": 1.0, "method": "piecewise"}}
    (warning,) = told
    assert str(warning.message) == (
        "old names of configuration fields, read for one more version: optimiser is now optimizer; "
        "planner.visit_offset is now planner.maxvisit_init; planner.method=held is now planner.method=piecewise"
    )
    assert old["planner"] == {"visit_offset": 1.0, "method": "held"}


def test_an_old_name_wins_over_the_new_one_which_may_be_a_default() -> None:
    with pytest.warns(FutureWarning, match="optimiser is now optimizer"):
        new = legacy.translate({"optimizer": {"actor_lr": 1.0, "warmup": 5}, "optimiser": {"actor_lr": 2.0}})
    assert new == {"optimizer": {"actor_lr": 2.0, "warmup": 5}}


def test_todays_names_and_neutral_removed_fields_pass_without_a_word() -> None:
    values = {"optimizer": {"actor_lr": 2.0}, "planner": {"method": "piecewise", "penalty": 0.0, "limit": 0}}
    values |= {"search": {"learn": "off", "method": "tree", "collect": False, "act_actions": 64, "bootstrap": 1.0}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert legacy.translate(values) == {"optimizer": {"actor_lr": 2.0}, "planner": {"method": "piecewise"}}


def test_a_removed_field_is_ignored_with_a_warning_and_refused_at_the_command_line() -> None:
    with pytest.warns(
        FutureWarning, match=r"are ignored: search\.learn='add' \(.*\); planner\.penalty=0\.5 \("
    ) as told:
        assert legacy.translate({"planner": {"penalty": 0.5}, "search": {"learn": "add", "trace": 1.0}}) == {
            "planner": {}
        }
    assert len(told) == 1
    with pytest.raises(ConfigError, match=r"planner\.penalty=0\.5 is not allowed: the field was removed"):
        legacy.refuse_removed("planner.penalty", 0.5)
    legacy.refuse_removed("planner.penalty", 0.0)
    legacy.refuse_removed("planner.collect", True)


def test_an_unknown_field_of_a_removed_group_stays_for_the_check_of_names() -> None:
    assert legacy.translate({"search": {"lern": "off"}}) == {"search": {"lern": "off"}}


def test_acting_by_search_is_the_planner_that_looks_one_step_ahead() -> None:
    old = {"search": {"collect": True, "act_actions": 8, "bootstrap": 0.0}, "planner": {"method": "held", "actions": 4}}
    with pytest.warns(FutureWarning, match=r"search\.collect is now planner\.collect with planner\.method=one_step"):
        new = legacy.translate(old)
    assert new == {"planner": {"method": "one_step", "collect": True, "actions": 8, "bootstrap": 0.0}}
    with pytest.warns(FutureWarning, match=r"search\.bootstrap is now planner\.bootstrap$"):
        assert legacy.translate({"search": {"bootstrap": 0.0}}) == {"planner": {"bootstrap": 0.0}}


def test_acting_by_search_here_and_by_a_planner_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"search\.collect=True is not allowed: the planner acts by 'gumbel' already"):
        legacy.translate({"search": {"collect": True}, "planner": {"method": "gumbel", "evaluate": True}})


def every_field(values: dict[str, Any], path: str = "") -> set[str]:
    """Dotted names of fields and groups."""
    names = {path + name for name in values}
    return names.union(
        *(every_field(value, f"{path}{name}.") for name, value in values.items() if isinstance(value, dict))
    )


def test_new_names_are_fields_and_old_ones_are_not() -> None:
    today = every_field(to_dict(Config()))
    assert set(legacy.RENAMED.values()) <= today
    assert not today & {*legacy.RENAMED, *legacy.REMOVED}
    assert set(legacy.RENAMED_VALUES) <= today


def test_a_configuration_saved_by_the_version_before_is_read() -> None:
    """The one of the shipped agent, as that version wrote it: the same run under today's names."""
    old = json.loads((Path(__file__).parent / "version_0_1.json").read_text())
    with pytest.warns(FutureWarning, match="optimiser is now optimizer") as told:
        config = from_dict(old)
    assert len(told) == 1
    shipped = read_config("tetris_direct")
    assert shipped.env.layout == "legacy"  # its observations are read as when it was trained
    assert config == dataclasses.replace(shipped, env=dataclasses.replace(shipped.env, layout="auto"))
    assert from_dict(to_dict(config)) == config


def test_a_run_of_dreamerv3_saved_without_newer_fields_stays_what_it_was() -> None:
    """Its parameters are those of strided convolutions, its schedule began with ``min_size``."""
    saved = merge(to_dict(Config()), presets.dreamerv3())
    del saved["model"]["image_conv"], saved["replay"]["min_windows"]
    config = from_dict(saved)
    assert config.model.image_conv == "strided" and config.replay.min_windows == 0


def test_presets_are_found_at_their_old_place() -> None:
    with pytest.warns(FutureWarning, match="dreamjax.presets has moved: import it by `from dreamjax.config import"):
        old = importlib.import_module("dreamjax.presets")
    assert old.dreamerv3 is presets.dreamerv3 and old.variants is presets.variants


def test_a_later_value_wins_over_an_old_name_before_it(tmp_path: Path) -> None:
    """A file that uses old names: the command line and ``load_config(changes=)`` still decide."""
    file = tmp_path / "mine.py"
    file.write_text("get_config = lambda variant='': {'optimiser': {'actor_lr': 1e-3}}\n")
    with pytest.warns(FutureWarning, match="optimiser is now optimizer"):
        assert load_config(str(file), {"optimizer": {"actor_lr": 1e-5}}).optimizer.actor_lr == 1e-5
    with pytest.warns(FutureWarning, match="optimiser is now optimizer"):
        values = override({"optimiser": {"actor_lr": 1e-3}}, {"optimizer.actor_lr": "1e-5"})
    assert from_dict(values).optimizer.actor_lr == 1e-5


def test_an_old_name_at_its_default_is_read_too() -> None:
    with pytest.warns(FutureWarning, match=r"search\.bootstrap is now planner\.bootstrap"):
        new = legacy.translate({"search": {"bootstrap": 1.0}, "planner": {"bootstrap": 0.0}})
    assert new == {"planner": {"bootstrap": 1.0}}


def test_removed_fields_of_search_are_refused_where_they_are_typed() -> None:
    with pytest.raises(ConfigError, match=r"search\.simulations=9 is not allowed: the field was removed"):
        override({}, {"search.simulations": "9"})
