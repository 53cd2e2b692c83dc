"""What a run does when something around it fails: its environment, its disk."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dreamjax.commands import cli, train
from dreamjax.config import merge
from dreamjax.reporting import dreams
from dreamjax.training import trainer
from dreamjax.training.storage import checkpoint
from tests.helpers import ROOT
from tests.helpers.configs import make_tiny_config
from tests.helpers.fakes import fake_agent

ONCE, ALWAYS = "once", "always"


def run(path: Path, env: dict[str, Any], token: str) -> int:
    base = {
        "id": "tests.training.faulty:Faulty-v0",
        "warn_after": 3.0,
        "max_restarts": 1,
        "kwargs": {"at": 25, "length": 30, "token": token},
    }
    config = make_tiny_config(
        total_steps=96,
        train_ratio=12.0,
        checkpoint={"every": 30, "keep": 10},
        log={"tensorboard": False, "metrics_every": 5, "every": 1e9},
        env=merge(base, env),
    )
    return cli.run(lambda: train._run_alone(config, path, "auto", lambda: False))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fault", "workers", "how_often", "code", "told"),
    [
        ("raise", 0, ALWAYS, 1, "RuntimeError: the step went wrong"),
        ("nan", 0, ALWAYS, 1, "step 25: environment 0: observation entry 'count' is nan"),
        ("inf_reward", 0, ALWAYS, 1, "step 25: environment 0: the reward is inf"),
        ("shape", 0, ALWAYS, 1, "step 25: environment 0: observation entry 'count' has shape (4,)"),
        ("raise", 1, ONCE, 0, ""),
        ("hang", 1, ONCE, 0, ""),
        ("exit", 1, ALWAYS, 1, "more than max_restarts=1 restarts of one worker: its process crashed (exit code 3)"),
        ("nan", 1, ALWAYS, 1, "step 25: environment 0: observation entry 'count' is nan"),
    ],
)
@pytest.mark.filterwarnings("ignore:worker of environments:RuntimeWarning")
def test_environments_that_fail(
    fault: str,
    workers: int,
    how_often: str,
    code: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A fault at step 25 of each environment, 50 of the run: in this process it ends the run, a worker begins anew."""
    monkeypatch.setattr(trainer, "make_agent", lambda *_: fake_agent())
    monkeypatch.setattr(dreams, "dream_report", lambda *args, **kwargs: {})
    monkeypatch.setattr(trainer, "leave_report", lambda *_: None)
    token = tmp_path / "token"
    token.touch()
    env = {"workers": workers, "kwargs": {"fault": fault}}
    assert run(tmp_path / "run", env, str(token) if how_often == ONCE else "") == code
    out = capsys.readouterr()
    if code:
        (message,) = [line for line in out.err.splitlines() if line.startswith("error: ")]
        whole = out.err[out.err.index("error: ") :]
        assert told in whole
        assert f"Last good checkpoint: {checkpoint.latest(tmp_path / 'run')}" in whole
        good = 90 if fault == "exit" else 30  # the worker had another try
        assert checkpoint.step_of(checkpoint.latest(tmp_path / "run")) == good  # type: ignore[arg-type]
        assert ("Traceback" in out.err) == (fault == "raise"), message
    else:
        assert not token.exists()
        assert checkpoint.read_meta(checkpoint.latest(tmp_path / "run"))["complete"]  # type: ignore[arg-type]


def mountable() -> bool:
    """Whether this user may mount a small file system in a name space of its own."""
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        ["unshare", "-Urm", "mount", "-t", "tmpfs", "-o", "size=4k", "none", "/mnt"], capture_output=True, check=False
    )
    return tried.returncode == 0


@pytest.mark.parametrize("kind", ["device", "limit"])
def test_a_disk_that_is_full(kind: str, tmp_path: Path) -> None:
    """On a file system of 1 MB where one can be mounted, and under a limit on the size of files."""
    if kind == "device" and not mountable():
        pytest.skip("no file system can be mounted here")
    command = [sys.executable, "-m", "tests.training.full_disk", str(tmp_path), kind]
    if kind == "device":
        mount = f"mount -t tmpfs -o size=1m none '{tmp_path}'"
        command = ["unshare", "-Urm", "sh", "-c", f'{mount} && exec "$@"', "sh", *command]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    out = result.stdout
    reason = "No space left on device" if kind == "device" else "File too large"
    assert re.search(rf"cannot save .*0060: .*{reason}.*000000000030; trying again later", out, re.S)
    assert "freed in time: 0" in out
    assert "full at the end: 1" in out
    assert re.search(
        rf"error: cannot save .*0110: .*{reason}.*Last good checkpoint: .*000000000096", result.stderr, re.S
    )
    assert "free again: 0" in out
    assert "checkpoints: 000000000030 000000000090 000000000096 000000000110\n" in out
    if kind == "device":
        assert "read-only: 2" in out
        assert re.search("error: --workdir=.* cannot be written: .*Read-only file system", result.stderr)
