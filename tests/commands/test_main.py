"""`dreamjax COMMAND`: the table of commands, their help, and what stands for them in a checkout."""

from __future__ import annotations

import importlib
import runpy
import sys

import pytest

from dreamjax import __main__ as console
from dreamjax import __version__
from dreamjax.commands import ALIASES, COMMANDS
from tests.helpers import ROOT


def module_of(command: str) -> str:
    return command.replace("-", "_")


def test_help_lists_every_command(capsys):
    for arguments in ([], ["--help"], ["help"]):
        assert console.main(arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines if line.startswith("  ")] == list(COMMANDS)
    assert console.main(["--version"]) == 0
    assert capsys.readouterr().out == f"dreamjax {__version__}\n"


def test_every_module_with_a_main_is_a_command():
    modules = {path.stem for path in (ROOT / "dreamjax/commands").glob("*.py") if "\ndef main(" in path.read_text()}
    assert modules == {module_of(command) for command in COMMANDS}
    assert set(ALIASES.values()) <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_names_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        console.main([command, "--help"])
    out = capsys.readouterr().out
    assert stop.value.code == 0 and out.startswith(f"usage: dreamjax {command} ")
    assert f"    dreamjax {command}" in out and "python -m" not in out


@pytest.mark.parametrize("command", [*COMMANDS, *ALIASES])
def test_a_checkout_has_every_command_in_experiments(command, monkeypatch):
    """`python -m experiments.NAME` is the same as `dreamjax NAME`."""
    called = []
    module = importlib.import_module(f"dreamjax.commands.{module_of(ALIASES.get(command, command))}")
    monkeypatch.setattr(module, "main", lambda: called.append(command) or 3)
    monkeypatch.delitem(sys.modules, f"experiments.{module_of(command)}", raising=False)  # runpy warns of it
    with pytest.raises(SystemExit) as stop:
        runpy.run_module(f"experiments.{module_of(command)}", run_name="__main__")
    assert (stop.value.code, called) == (3, [command])


def test_arguments_of_the_process_reach_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["dreamjax", "replay", "--npz=x"])
    assert console.main() == 2
    assert capsys.readouterr().err == "error: --npz=x is not allowed: must end with .npz\n"


def test_an_unknown_command_is_named(capsys):
    assert console.main(["trian", "--config=cartpole"]) == 2
    assert capsys.readouterr().err == "error: there is no command trian: did you mean train?\n"
    assert console.main(["xyz"]) == 2
    assert "`dreamjax --help` lists the commands" in capsys.readouterr().err
