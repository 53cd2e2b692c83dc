"""Weights & Biases beside the other logs: what reaches the package, and a run of the package itself offline."""

import sys
from types import SimpleNamespace

import pytest

from dreamjax.commands import cli
from dreamjax.config import ConfigError
from dreamjax.reporting import wandb_run
from dreamjax.reporting.logger import Logger


class Recorder:
    """Stands for the package and for its run: keeps the arguments of every call."""

    def __init__(self, error=None):
        self.calls = []
        self.errors = SimpleNamespace(Error=type("Error", (Exception,), {}))
        self.fails = error

    def Settings(self, **settings):
        return settings

    def init(self, **kwargs):
        self.calls.append(("init", kwargs))
        if self.fails:
            raise self.errors.Error(self.fails)
        return self

    def define_metric(self, name, step_metric):
        self.calls.append(("define_metric", (name, step_metric)))

    def log(self, values):
        self.calls.append(("log", values))

    def finish(self):
        self.calls.append(("finish", None))


@pytest.fixture
def package(monkeypatch):
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, "wandb", recorder)
    return recorder


def make(workdir, **kwargs):
    return Logger(workdir, total_steps=10, tensorboard=False, terminal_every=1e9, clock=lambda: 0.0, **kwargs)


def test_metrics_reach_the_project(package, tmp_path):
    logger = make(tmp_path / "mine", wandb="games", config={"seed": 3})
    logger.metrics(8, 2, {"train/kl": 0.5})
    logger.close()
    (_, start), *rest = package.calls
    assert (start["project"], start["name"], start["config"]) == ("games", "mine", {"seed": 3})
    assert (start["dir"], start["resume"]) == (str(tmp_path / "mine"), "allow")
    assert rest == [
        ("define_metric", ("*", "step")),
        ("log", {"step": 8, "update": 2, "wall_time": 0.0, "train/kl": 0.5}),
        ("finish", None),
    ]


def test_a_continued_run_keeps_its_id(package, tmp_path):
    for name in ("a", "a", "b"):
        make(tmp_path / name, wandb="games").close()
    first, second, other = [call["id"] for name, call in package.calls if name == "init"]
    assert first == second != other


def test_it_is_off_by_default(package, tmp_path):
    logger = make(tmp_path)
    logger.metrics(1, 1, {"a": 1})
    logger.close()
    assert package.calls == []
    assert not (tmp_path / "wandb").exists()


def test_a_start_that_fails_is_told(package, tmp_path):
    package.fails = "no API key."
    with pytest.raises(ConfigError, match=r"log\.wandb='games' is set, .*: no API key\. With WANDB_MODE=offline"):
        make(tmp_path, wandb="games")
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_missing_package_is_one_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert cli.run(lambda: make(tmp_path, wandb="games")) == cli.USAGE
    said = "error: log.wandb='games' needs the package wandb: pip install wandb\n"
    assert capsys.readouterr().err == said


def test_the_package_itself_offline(monkeypatch, tmp_path):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = make(tmp_path, wandb="games", config={"a": {"b": (1, None)}})
    logger.metrics(8, 2, {"train/kl": 0.25, "bad": float("nan")})
    run = logger._wandb
    assert run.offline
    assert {name: run.summary[name] for name in ("step", "update", "train/kl")} == {
        "step": 8,
        "update": 2,
        "train/kl": 0.25,
    }
    logger.close()
    (written,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert written.name == f"run-{(tmp_path / wandb_run.RUN_ID).read_text()}.wandb"
    content = written.read_bytes()
    for text in (b"games", b"train/kl", b"0.25"):
        assert text in content
