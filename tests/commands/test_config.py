"""`dreamjax config`: the list of all fields, and what a run would use."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dreamjax.commands import cli, config, train
from dreamjax.config import Config, presets, to_dict
from dreamjax.config.overrides import override


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert config.main(arguments) == cli.OK
    return capsys.readouterr().out


FREE = ("kwargs", "obs")  # fields that take any names


def names(values: dict, path: str = "") -> list[str]:
    return [
        name
        for key, value in values.items()
        for name in (names(value, f"{path}{key}.") if isinstance(value, dict) and key not in FREE else [path + key])
    ]


def test_every_field_is_listed_with_meaning_range_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys)
    assert re.findall(r"^  (\S+) = ", out, re.MULTILINE) == names(to_dict(Config()))
    assert (
        "  replay.capacity = 100000 [environment steps]\n"
        "      a whole number, above 0\n"
        "      Steps kept, over all environments.\n"
    ) in out
    assert "\nReplay of real steps, in host memory.\n" in out
    assert "      one of direct, locked_position, or none\n" in out
    assert max(map(len, out.splitlines())) <= 100
    variants = out.split("Variants of every configuration, as --config=NAME:variant, joined by commas\n")[1]
    known = {"smoke", "plan", "dreamerv2", "dreamerv3", *presets.SIZES, *presets.SUITES}
    assert set(re.split(r"[,\s]+", variants.strip())) == known


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["gamma"], ["loss.gamma"]),
        (["check*.every", "seed"], ["seed", "checkpoint.every"]),
        (
            ["eval."],
            ["eval.every", "eval.episodes", "eval.num_envs", "eval.max_length", "eval.in_training_env", "eval.greedy"],
        ),
    ],
)
def test_patterns_choose_fields(patterns: list[str], found: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert re.findall(r"^  (\S+) = ", run(capsys, *patterns), re.MULTILINE) == found


def test_a_run_is_printed_with_what_differs_marked(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "--config=cartpole:smoke", "--config.seed=3", "--config.actor.binary_bias=1,-2")
    assert "* seed = 3  (default: 0)\n" in out
    assert "* total_steps = 640  (default: 100000)\n" in out
    assert "* env.id = CartPole-v1  (default: dreamjax/Tetris-v0)\n" in out
    assert "* actor.binary_bias = 1.0,-2.0  (default: ())\n" in out
    assert "\n  loss.lam = 0.95\n" in out
    assert len(out.splitlines()) == len(names(to_dict(Config())))
    changed = run(capsys, "--config=cartpole:smoke", "--changed=true", "total_steps", "loss.lam")
    assert changed == "* total_steps = 640  (default: 100000)\n"


def test_what_is_printed_can_be_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    config = cli.load_config("tetris_direct:smoke", {})
    out = run(capsys, "--config=tetris_direct:smoke")
    printed = dict(re.findall(r"^[* ] (\S+) = (.*?)(?:  \(default: .*\))?$", out, re.MULTILINE))
    assert cli.from_dict(override({}, {k: v for k, v in printed.items() if v != "''"})) == config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing_like_it"], "error: no field matches nothing_like_it; `dreamjax config` lists all of them"),
        (["--config.seed=1"], "error: --config.FIELD=VALUE and --changed need --config=NAME[:variant]"),
        (["--config=cartpole", "--config.horizon=0"], "error: horizon=0 is not allowed: must be above 0"),
        (["--confg=cartpole"], "error: unknown argument --confg=cartpole (see --help)"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert config.main(arguments) == cli.USAGE
    assert capsys.readouterr().err.strip() == message


def test_the_help_of_train_mentions_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        train.main(["--help"])
    assert "`dreamjax config` lists them" in capsys.readouterr().out


def test_an_old_name_is_one_line_of_warning(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("get_config = lambda variant='': {'ensemble': {'bonus': 0.5}}\n")
    arguments = [sys.executable, "-m", "dreamjax", "config", "seed", f"--config={tmp_path / 'mine.py'}"]
    told = subprocess.run(arguments, check=True, capture_output=True, text=True).stderr
    assert told.startswith("warning: removed configuration fields are ignored: ensemble.bonus=0.5 (")
    assert told.count("\n") == 1


def test_a_reader_that_leaves_is_no_error() -> None:
    """``dreamjax config | head`` prints no traceback."""
    command = [sys.executable, "-m", "dreamjax", "config"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
