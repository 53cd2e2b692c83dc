"""A work directory belongs to one configuration and one run at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dreamjax.training.storage import workdir
from dreamjax.training.storage.workdir import Lock, UsageError
from tests.helpers.configs import make_tiny_config


def test_configuration_round_trip(tmp_path: Path) -> None:
    config = make_tiny_config(env={"kwargs": {"gravity": 3}}, actor={"binary_bias": (0.0, -2.0)})
    workdir.write_config(tmp_path, config)
    assert workdir.read_config(tmp_path) == config
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"no_such_field": 1}', '{"horizon": 0}'])
def test_an_unreadable_configuration_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError, match=r"config\.json"):
        workdir.read_config(tmp_path)


def test_only_some_fields_may_change_when_a_run_goes_on(tmp_path: Path) -> None:
    workdir.write_config(tmp_path, make_tiny_config())
    free = make_tiny_config(
        total_steps=10**6, log={"every": 1.0}, checkpoint={"keep": 9}, eval={"every": 7}, parallel={"num_devices": 2}
    )
    workdir.check(tmp_path, free, "auto")
    with pytest.raises(UsageError) as error:
        workdir.check(tmp_path, make_tiny_config(horizon=4, env={"kwargs": {"a": 1}}), "auto")
    assert "horizon: 3 -> 4" in str(error.value)
    assert "env.kwargs.a: 'unset' -> 1" in str(error.value)
    assert "batch_size" not in str(error.value)


def test_a_run_of_before_the_layout_is_read_as_it_was(tmp_path: Path) -> None:
    config = make_tiny_config()
    workdir.write_config(tmp_path, config)
    assert workdir.as_begun(config, tmp_path) == config and workdir.as_begun(config, tmp_path / "new") == config
    file = tmp_path / "config.json"
    values = json.loads(file.read_text())
    for name in ("layout", "obs", "keys", "ignore"):
        del values["env"][name]
    file.write_text(json.dumps(values))
    assert workdir.read_config(tmp_path).env.layout == "legacy"
    assert workdir.as_begun(config, tmp_path).env.layout == "legacy"
    workdir.check(tmp_path, config, "must")  # it goes on
    with pytest.raises(UsageError, match=r"env.layout: 'legacy' -> 'channels_last'"):
        workdir.check(tmp_path, make_tiny_config(env={"layout": "channels_last"}), "must")


def test_resume_never_and_must(tmp_path: Path) -> None:
    config = make_tiny_config()
    workdir.check(tmp_path / "new", config, "never")
    with pytest.raises(UsageError, match="holds no run"):
        workdir.check(tmp_path / "new", config, "must")
    assert not (tmp_path / "new").exists()
    workdir.write_config(tmp_path, config)
    workdir.check(tmp_path, config, "must")
    with pytest.raises(UsageError, match="holds a run already"):
        workdir.check(tmp_path, config, "never")


def test_a_file_is_no_work_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="not a directory"):
        workdir.check(tmp_path / "file", make_tiny_config(), "auto")
    with pytest.raises(UsageError, match="cannot be written"):
        Lock(tmp_path / "file" / "below")


def test_a_second_run_is_refused_by_the_first_ones_process(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    with pytest.raises(UsageError, match=rf"in use by another run \(process {os.getpid()}\)"):
        Lock(tmp_path)
    lock.release()
    Lock(tmp_path).release()


def test_the_lock_of_a_killed_run_is_free(tmp_path: Path) -> None:
    code = (
        "import os; from dreamjax.training.storage.workdir import Lock; "
        f"x = Lock({str(tmp_path)!r}); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert (tmp_path / "lock.owner").read_text().strip()  # it had it
    Lock(tmp_path).release()


def test_commands_start_without_the_modules_of_unix() -> None:
    code = (
        "import sys; sys.modules['fcntl'] = None; import dreamjax.training.storage.workdir; "
        "from dreamjax.commands import check_env; sys.exit(check_env.main(['--env=CartPole', '--steps=5']))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert "CartPole: no problem in 5 random steps" in process.stdout
