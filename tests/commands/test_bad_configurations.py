"""Configurations that cannot be: each ends the command with exit code 2 and one line that names the field.

Written ones, and for every field of ``dreamjax.config`` generated ones: another type, a misspelt name, and numbers that are
infinite, no numbers, or out of range.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from dreamjax.commands import cli, train
from dreamjax.config import Config
from tests.helpers import ROOT

FILE = str(ROOT / "experiments" / "cartpole.py")


def leaves(cls: Any = Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field as dotted name and type."""
    for name, hint in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(hint):
            yield from leaves(hint, f"{prefix}{name}.")
        else:
            yield prefix + name, hint


FIELDS = dict(leaves())
NUMBERS = [name for name, hint in FIELDS.items() if hint in (int, float)]


def other_types() -> Iterator[tuple[str, str]]:
    """A text that is none of the field's type."""
    for name, hint in FIELDS.items():
        origin = typing.get_origin(hint)
        if hint in (int, float, bool):
            yield name, "word"
        elif origin is Literal:
            yield name, "no_such_choice"
        elif origin is tuple and typing.get_args(hint)[0] is float:
            yield name, "1,word"


def misspelt() -> Iterator[tuple[str, str]]:
    for name in FIELDS:
        if not name.startswith("env.kwargs"):
            yield name + "x", "1"


GENERATED = {
    "type": list(other_types()),
    "name": list(misspelt()),
    "nan": [(name, "nan") for name in NUMBERS],
    "infinity": [(name, "inf") for name in NUMBERS],
    "below": [(name, "-1") for name in NUMBERS],
}
ABOVE_ONE = [
    "actor.unimix", "model.unimix", "replay.online", "replay.uniform_fraction", "critic.slow_rate",
    "loss.gamma", "loss.lam", "loss.return_norm_rate", "optimizer.beta1", "optimizer.beta2", "ensemble.rate",
    "parallel.memory_fraction",
]  # fmt: skip
POSITIVE = [
    "total_steps", "num_envs", "batch_size", "batch_length", "horizon", "train_ratio", "env.warn_after", "replay.capacity",
    "replay.min_size", "model.deter", "model.blocks", "model.stoch", "model.classes", "model.hidden", "model.units",
    "model.layers", "model.conv_depth", "model.min_std", "model.prior_layers", "model.posterior_layers", "actor.layers",
    "actor.units", "actor.min_std", "actor.max_std", "critic.layers", "critic.units", "critic.slow_rate", "loss.gamma",
    "loss.symlog_limit", "loss.return_norm_rate", "loss.return_norm_limit", "optimizer.world_model_lr",
    "optimizer.actor_lr", "optimizer.critic_lr", "optimizer.eps", "optimizer.accumulate", "imagination.capacity",
    "ensemble.layers",
    "ensemble.units", "ensemble.lr", "ensemble.rate", "schedule.collect_steps", "schedule.imagination_batch_size",
    "schedule.updates_per_call", "schedule.steps_per_call",
    "checkpoint.every", "checkpoint.keep", "eval.num_envs", "log.every", "log.metrics_every",
]  # fmt: skip
GENERATED |= {"two": [(name, "2") for name in ABOVE_ONE], "zero": [(name, "0") for name in POSITIVE]}
# Two fields that do not go together: what is set, and the field that the message must name.
WRITTEN: list[tuple[dict[str, str], str]] = [
    ({"env.id": ""}, "env.id"),
    ({"env.action_mode": "buttons"}, "env.action_mode"),
    ({"env.kwargs": "3"}, "env.kwargs"),
    ({"replay.capacity": "100", "replay.min_size": "101"}, "replay.min_size"),
    ({"replay.capacity": "100", "replay.min_size": "50", "batch_length": "64"}, "batch_length"),
    ({"replay.min_windows": "40000"}, "replay.min_windows"),
    ({"replay.uniform_fraction": "0.5"}, "replay.uniform_fraction"),
    ({"replay.sampler": "prioritized", "replay.uniform_fraction": "0.5", "replay.online": "0.5"},
     "replay.uniform_fraction"),
    ({"replay.sampler": "prioritized", "replay.uniform_fraction": "0.3"}, "replay.uniform_fraction"),
    ({"replay.sampler": "prioritized", "replay.uniform_fraction": "0.01"}, "replay.uniform_fraction"),
    ({"replay.sampler": "prioritized", "replay.uniform_fraction": "0.5", "batch_size": "6", "parallel.num_devices": "2"},
     "replay.uniform_fraction"),
    ({"batch_length": "1"}, "batch_length"),
    ({"model.deter": "129"}, "model.deter"),
    ({"model.blocks": "7"}, "model.deter"),
    ({"model.classes": "1"}, "model.classes"),
    ({"model.bins": "2"}, "model.bins"),
    ({"model.bins": "16"}, "model.bins"),
    ({"critic.bins": "1"}, "critic.bins"),
    ({"critic.bins": "100"}, "critic.bins"),
    ({"actor.min_std": "2"}, "actor.min_std"),
    ({"actor.binary_bias": "nan"}, "actor.binary_bias"),
    ({"loss.gamma": "1"}, "loss.gamma"),
    ({"loss.symlog_limit": "41"}, "loss.symlog_limit"),
    ({"optimizer.beta1": "1"}, "optimizer.beta1"),
    ({"imagination.last": "33"}, "imagination.last"),
    ({"imagination.use_ring": "true", "imagination.capacity": "10"}, "imagination.capacity"),
    ({"batch_size": "15", "parallel.num_devices": "2"}, "batch_size"),
    ({"batch_size": "15", "optimizer.accumulate": "2"}, "batch_size"),
    ({"schedule.kind": "plan", "schedule.imagination_batch_size": "5", "parallel.num_devices": "2"},
     "schedule.imagination_batch_size"),
    ({"schedule.steps_per_call": "2", "env.workers": "1"}, "schedule.steps_per_call"),
    ({"schedule.steps_per_call": "2", "offline.replay": "x"}, "schedule.steps_per_call"),
    ({"ensemble.size": "1"}, "ensemble.size"),
    ({"ensemble.bonus": "1"}, "ensemble.bonus"),  # removed
    ({"seed": "9000000"}, "seed"),
    ({"init_from.modules": ""}, "init_from.modules"),
    ({"seed": "1.5"}, "seed"),
    ({"total_steps": "1e400"}, "total_steps"),
    ({"horizon": "0x10"}, "horizon"),
    ({"model": "word"}, "model"),
    ({"model.deter.x": "1"}, "model.deter"),
    ({"horizon.steps": "1"}, "horizon"),
]  # fmt: skip


def refused(overrides: dict[str, str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that reading this configuration ends with; the exit code must be 2."""

    def body() -> int:
        cli.load_config(FILE, overrides)
        return cli.OK

    assert cli.run(body) == cli.USAGE, f"{overrides} was taken"
    message = capsys.readouterr().err.strip()
    assert message.startswith("error: ") and "\n" not in message
    return message


@pytest.mark.parametrize("kind", GENERATED)
def test_generated(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in GENERATED[kind]:
        message = refused({name: text}, capsys)
        assert f"error: {name}" in message, message


@pytest.mark.parametrize(("overrides", "field"), WRITTEN, ids=[str(overrides) for overrides, _ in WRITTEN])
def test_written(overrides: dict[str, str], field: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"error: {field}" in refused(overrides, capsys)


def test_there_are_more_than_a_hundred() -> None:
    assert len(WRITTEN) > 30
    assert sum(map(len, GENERATED.values())) > 400


@pytest.mark.parametrize(
    ("argument", "field"),
    [
        ("--config.loss.gamma=nan", "loss.gamma"),
        ("--config.optimizer.skip_nonfinite=-1", "optimizer.skip_nonfinite"),
        ("--config.checkpoint.keep=0", "checkpoint.keep"),
        ("--init_from=no/such/run", "init_from.path"),
        ("--offline.replay=no/such.npz", "offline.replay"),
    ],
)
def test_by_the_command(argument: str, field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main([f"--config={FILE}:smoke", argument, f"--workdir={tmp_path / 'run'}"]) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith(f"error: {field}") and "\n" not in message
