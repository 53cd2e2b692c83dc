"""The commands: arguments, typed overrides, and one readable message for each error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dreamjax.commands import cli, evaluate, train
from dreamjax.config import ConfigError
from dreamjax.training.runtime import compile_cache
from dreamjax.training.storage import workdir
from dreamjax.training.storage.workdir import UsageError
from tests.helpers import ROOT

CARTPOLE = "experiments/cartpole.py"


@pytest.fixture(autouse=True)
def from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def refuse(*arguments: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: Any = train) -> str:
    """Runs a command that must be refused: code 2, one line, no traceback, nothing written. Returns the line."""
    before = sorted(tmp_path.rglob("*"))
    assert command.main([*arguments, f"--workdir={tmp_path / 'run'}"]) == 2
    out = capsys.readouterr()
    assert sorted(tmp_path.rglob("*")) == before
    message = out.err.strip()
    assert message.startswith("error: ")
    assert "\n" not in message
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("total_steps=1e6", 1_000_000),
        ("total_steps=2000", 2000),
        ("train_ratio=32", 32.0),
        ("loss.gamma=0.9", 0.9),
        ("env.id=dreamjax/Tetris-v0", "dreamjax/Tetris-v0"),
        ("env.action_mode=direct", "direct"),  # None in the file
        ("env.action_mode=none", None),
        ("replay.keep_latents=true", True),
        ("replay.keep_latents=False", False),
        ("actor.binary_bias=(0,-2.5)", (0.0, -2.5)),
        ("actor.binary_bias=1,2", (1.0, 2.0)),
        ("actor.binary_bias=()", ()),
        ("model.latent=gaussian", "gaussian"),
        ("env.kwargs.max_episode_steps=7", 7),
        ("env.kwargs.name=word", "word"),
        ("env.kwargs.flag=true", True),
    ],
)
def test_overrides_are_read_as_their_fields_type(override: str, expected: Any) -> None:
    name, _, text = override.partition("=")
    value: Any = cli.load_config(CARTPOLE, {name: text})
    for part in name.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    assert value == expected
    assert type(value) is type(expected)


def test_later_overrides_win_and_both_forms_are_read() -> None:
    arguments = ["--config.seed=1", "--config.env.id", "A-v0", "--config.seed=2", "--config.a=b=c"]
    assert cli.split_overrides(arguments) == {"seed": "2", "env.id": "A-v0", "a": "b=c"}
    with pytest.raises(UsageError, match="needs a value"):
        cli.split_overrides(["--config.seed", "--config.horizon=2"])


def test_an_override_of_one_field_leaves_its_neighbors() -> None:
    plain, changed = cli.load_config(CARTPOLE, {}), cli.load_config(CARTPOLE, {"model.deter": "256"})
    assert changed.model.deter == 256
    assert changed.model.hidden == plain.model.hidden != 0


@pytest.mark.parametrize("path", sorted(ROOT.glob("dreamjax/configs/[a-z]*.py")), ids=lambda path: path.stem)
@pytest.mark.parametrize("variant", ["", "smoke", "plan"])
def test_every_configuration_file_and_variant_loads(path: Path, variant: str) -> None:
    assert cli.load_config(f"{path}:{variant}" if variant else str(path), {}).total_steps > 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config.horzon=3"], "horzon is not a configuration field: did you mean horizon?"),
        (["--config.model.detr=3"], "model.detr is not a configuration field: did you mean model.deter?"),
        (["--config.horizon.x=3"], "horizon.x is not a configuration field"),
        (["--config.horizon=0"], "horizon=0 is not allowed: must be above 0"),
        (["--config.horizon=two"], "horizon='two' is not allowed: must be a whole number"),
        (["--config.horizon=1.5"], "horizon='1.5' is not allowed: must be a whole number"),
        (["--config.horizon=nan"], "horizon='nan' is not allowed"),
        (["--config.loss.gamma=x"], "loss.gamma='x' is not allowed: must be a number"),
        (["--config.loss.gamma=1"], "loss.gamma=1.0 is not allowed: must lie in (0, 1)"),
        (["--config.replay.keep_latents=maybe"], "replay.keep_latents='maybe' is not allowed: must be true or false"),
        (["--config.model=3"], "model=3 is not allowed: must be a group of fields"),
        (["--config.model.latent=x"], "model.latent='x' is not allowed: must be one of"),
        (["--config.actor.binary_bias=1,x"], "actor.binary_bias='x' is not allowed: must be a number"),
        (
            ["--config.replay.capacity=16", "--config.replay.min_size=8"],
            "is not allowed: a window must fit",
        ),
        (["--config.batch_size=15", "--config.parallel.num_devices=2"], "batch_size=15 is not allowed: must be a mult"),
        (
            ["--config.parallel.num_devices=99", "--config.batch_size=99"],
            "parallel.num_devices=99 is not allowed: this",
        ),
        (["--config.batch_size=1e6"], "batch_size=1000000 is not allowed: an update needs about"),
        (["--config.env.id=NoSuchEnv-v0"], "NoSuchEnv"),
        (["--config.env.id=not an id"], "not an id"),
        (["--config.env.id=no_such_module:Env-v0"], "no_such_module"),
        (["--config.env.kwargs.no_such_argument=1"], "no_such_argument"),
        (["--config.seed"], "--config.seed needs a value"),
        (["--no_such_flag=1"], "unknown argument --no_such_flag=1"),
        (["--resume=perhaps"], "--resume"),
        (["--resume=must"], "holds no run"),
        (["--config.replay.capacity=1e13"], "replay.capacity=10000000000000 is not allowed: it needs"),
    ],
)
def test_wrong_usage_of_train(
    arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in refuse(f"--config={CARTPOLE}:smoke", *arguments, tmp_path=tmp_path, capsys=capsys)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "there is no file"),
        ("x = 1", "has no get_config"),
        ("get_config = lambda variant='': 3", "must return a ConfigDict, not int"),
        ("get_config = lambda variant='': {'horzon': 3}", "did you mean horizon?"),
        ("def get_config(variant=''):\n    return 1 / 0", "fails: ZeroDivisionError: division by zero"),
        ("import no_such_thing", "fails: ModuleNotFoundError"),
        ("def broken(:", "fails: SyntaxError"),
    ],
)
def test_configuration_files_that_cannot_be_used(
    content: str | None,
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "mine.py"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert expected in refuse(f"--config={file}", tmp_path=tmp_path, capsys=capsys)


def test_a_space_without_a_mapping_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_space.py").write_text(
        "import gymnasium as gym\n"
        "class Odd(gym.Env):\n"
        "    observation_space, action_space = gym.spaces.Text(5), gym.spaces.Discrete(2)\n"
        "    def reset(self, seed=None, options=None): return 'a', {}\n"
        "gym.register('Odd-v0', Odd)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    message = refuse(f"--config={CARTPOLE}:smoke", "--config.env.id=odd_space:Odd-v0", tmp_path=tmp_path, capsys=capsys)
    assert "Text" in message


def test_an_unknown_variant_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nonsense" in refuse(f"--config={CARTPOLE}:nonsense", tmp_path=tmp_path, capsys=capsys)


def test_a_missing_config_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--config" in refuse(tmp_path=tmp_path, capsys=capsys)


def test_another_runs_directory_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    workdir.write_config(tmp_path / "run", cli.load_config(f"{CARTPOLE}:smoke", {"horizon": "7"}))
    message = refuse(f"--config={CARTPOLE}:smoke", tmp_path=tmp_path, capsys=capsys)
    assert "horizon: 7 ->" in message
    assert "choose another --workdir" in message


def test_the_default_work_directory_names_file_and_variant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ROOT / CARTPOLE
    monkeypatch.chdir(tmp_path)
    for argument, folder in ((f"{config}", "cartpole"), (f"{config}:smoke", "cartpole_smoke")):
        assert train.main([f"--config={argument}", "--resume=must"]) == 2
        assert f"runs/{folder} holds no run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--episodes=0"], "--episodes=0 is not allowed"),
        (["--episodes=x"], "--episodes"),
        (["--seed=-1"], "--seed=-1 is not allowed"),
        (["--greedy=maybe"], "'maybe' is neither true nor false"),
        (["--agent=planner", "--simulations=0"], "--simulations=0 is not allowed"),
        (["--agent=other"], "--agent"),
        ([], "holds no run"),
    ],
)
def test_wrong_usage_of_evaluate(
    arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in refuse(*arguments, tmp_path=tmp_path, capsys=capsys, command=evaluate)


def test_evaluating_a_run_without_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    workdir.write_config(tmp_path / "run", cli.load_config(f"{CARTPOLE}:smoke", {}))
    assert "holds no checkpoint yet" in refuse(tmp_path=tmp_path, capsys=capsys, command=evaluate)


def test_configuration_errors_from_a_file_are_not_wrapped() -> None:
    with pytest.raises(ConfigError, match=r"^horizon=0 is not allowed"):
        cli.load_config(CARTPOLE, {"horizon": "0"})


def test_commands_do_not_import_jax_to_check_their_arguments() -> None:
    code = (
        "import sys; from dreamjax.commands import train, evaluate; "
        f"code = train.main(['--config={CARTPOLE}', '--resume=must', '--workdir=no/such']); "
        "assert code == 2; assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_settings_of_the_environment_stand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
    compile_cache.enable()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "mine"
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    compile_cache.enable()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "dreamjax" / "jax")


def test_config_json_is_what_was_asked_for(tmp_path: Path) -> None:
    config = cli.load_config(CARTPOLE, {"env.kwargs.a": "1", "total_steps": "1e3"})
    workdir.write_config(tmp_path, config)
    assert json.loads((tmp_path / "config.json").read_text())["total_steps"] == 1000
    assert workdir.read_config(tmp_path) == config


def test_the_cache_drops_what_was_written_longest_ago(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        file = tmp_path / name
        file.write_bytes(bytes(100))
        os.utime(file, (1000 - age, 1000 - age))
    compile_cache.drop_oldest(tmp_path, 200)
    assert {file.name for file in tmp_path.iterdir()} == {"new", "middle"}
    compile_cache.drop_oldest(tmp_path / "missing", 200)
