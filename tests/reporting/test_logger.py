"""The logger, under a clock that the test moves."""

import errno
import io
import json
import logging
import os

import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console
from tensorboardX.proto.event_pb2 import Event

from dreamjax.reporting.logger import Logger, _duration
from dreamjax.reporting.metrics import read_metrics


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def make(tmp_path):
    made = []

    def build(workdir=tmp_path, *, total_steps=1000, tensorboard=False, terminal_every=5.0, terminal=False):
        clock, out = Clock(), io.StringIO()
        console = Console(file=out, force_terminal=terminal, width=200, _environ={"TERM": "xterm"})
        logger = Logger(
            workdir, total_steps=total_steps, tensorboard=tensorboard, terminal_every=terminal_every,
            console=console, clock=clock,
        )  # fmt: skip
        made.append(logger)
        return logger, clock, out

    yield build
    for logger in made:
        logger.close()


def test_one_flushed_line_for_each_call(make, tmp_path):
    logger, clock, _ = make()
    clock.now += 2.5
    logger.metrics(8, 1, {"train/world_model_loss": jnp.float32(0.5), "episode/lines": np.float64(2), "n": 3})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()  # read while the logger is open
    assert [json.loads(line) for line in lines] == [
        {"step": 8, "update": 1, "wall_time": 2.5, "train/world_model_loss": 0.5, "episode/lines": 2.0, "n": 3.0}
    ]


def test_nan_is_null(make, tmp_path):
    logger, _, _ = make()
    logger.metrics(0, 0, {"loss": jnp.nan})
    assert next(read_metrics(tmp_path / "metrics.jsonl")) == {
        "step": 0, "update": 0, "wall_time": 0.0, "loss": None, "nonfinite": {"loss": "nan"}
    }  # fmt: skip


@pytest.mark.parametrize(("values", "message"), [({"step": 1}, "step"), ({"a": np.zeros(3)}, r"'a' has shape \(3,\)")])
def test_bad_metrics_are_named(make, values, message):
    logger, _, _ = make()
    with pytest.raises(ValueError, match=message):
        logger.metrics(0, 0, values)


def test_resume_drops_later_lines_and_continues_the_time(make, tmp_path):
    first, clock, _ = make()
    for step in (10, 20):
        clock.now += 1
        first.metrics(step, step, {"a": step})
    saved = json.loads(json.dumps(first.state_dict()))
    assert saved == {"offset": (tmp_path / "metrics.jsonl").stat().st_size, "elapsed": 2.0, "step": 20}
    clock.now += 1
    first.metrics(30, 30, {"a": -1})
    first.close()

    second, clock, _ = make()
    second.load_state_dict(saved)
    clock.now += 4
    second.metrics(30, 30, {"a": 30})
    lines = list(read_metrics(tmp_path / "metrics.jsonl"))
    assert [line["a"] for line in lines] == [10, 20, 30]
    assert [line["wall_time"] for line in lines] == [1, 2, 6]


def test_load_alone_then_load_again_changes_nothing(make, tmp_path):
    logger, _, _ = make()
    logger.metrics(1, 1, {})
    state = logger.state_dict()
    again, _, _ = make()
    again.load_state_dict(state)
    assert again.state_dict() == state
    assert len(list(read_metrics(tmp_path / "metrics.jsonl"))) == 1


def test_a_missing_file_is_told(make, tmp_path):
    logger, _, out = make()
    logger.load_state_dict({"offset": 50, "elapsed": 1.0, "step": 5})
    assert "shorter than the checkpoint says" in out.getvalue()


def test_info_prints_at_once_and_takes_brackets_literally(make):
    logger, clock, out = make()
    clock.now += 61
    logger.info("compiling [bold]update[/bold]")
    assert out.getvalue() == "[1:01] compiling [bold]update[/bold]\n"


def test_records_of_the_package_are_shown_until_close(make, capsys):
    """Information on the console, warnings on standard error, neither a second time by a handler of the root logger."""
    root, log = logging.getLogger(), logging.getLogger("dreamjax.training.anything")
    repeated = logging.StreamHandler(io.StringIO())
    root.addHandler(repeated)
    try:
        log.info("before")
        logger, clock, out = make()
        clock.now += 5
        log.info("compiling %s ...", "[bold]update[/bold]")
        log.debug("details")
        log.warning("an environment hangs")
        logger.close()
        log.info("after")
        assert repeated.stream.getvalue() == ""
    finally:
        root.removeHandler(repeated)
    assert out.getvalue() == "[0:05] compiling [bold]update[/bold] ...\n"
    assert capsys.readouterr().err == "warning: an environment hangs\n"


def test_progress_worked_by_hand(make):
    logger, clock, out = make()
    assert not logger.progress(0, 0, {})  # begins the measurement
    clock.now += 4
    assert not logger.progress(50, 5, {})  # too early
    clock.now += 6
    values = {"train/world_model_loss": 12.345678, "train/loss/actor": -0.5, "episode/return": 3}
    assert logger.progress(100, 20, values)
    # 100 steps and 20 updates in 10 s. The first updates were compiled in this time: it says nothing of what is left.
    assert out.getvalue() == (
        "[0:10] 100/1,000 steps  10% · 10 steps/s · 2.0 updates/s · world model 12.35 · actor -0.5 · return 3\n"
    )
    out.truncate(0), out.seek(0)
    clock.now += 10
    assert logger.progress(300, 60, {"episode/lines": 1.5})
    # 200 steps and 40 updates in 10 s; 700 steps are left at 20 steps/s.
    assert out.getvalue() == (
        "[0:20] 300/1,000 steps  30% · 20 steps/s · 4.0 updates/s · world model 12.35 · actor -0.5 · lines 1.5"
        " · 0:35 left\n"
    )
    out.truncate(0), out.seek(0)
    clock.now += 10
    assert logger.progress(400, 60, {})  # no update since the last line
    # 10 steps/s since the last line; the moving average is 0.7 * 20 + 0.3 * 10 = 17 for 600 steps.
    assert out.getvalue() == (
        "[0:30] 400/1,000 steps  40% · 10 steps/s · world model 12.35 · actor -0.5 · lines 1.5 · 0:35 left\n"
    )


def test_the_last_step_is_always_told(make):
    logger, clock, out = make()
    logger.progress(0, 0, {})
    clock.now += 0.5
    assert logger.progress(1000, 1, {})
    assert "1,000/1,000 steps 100%" in out.getvalue() and "left" not in out.getvalue()


def test_plain_output_has_no_control_codes_and_a_terminal_gets_a_bar(make, tmp_path):
    for terminal in (False, True):
        logger, clock, out = make(tmp_path / str(terminal), terminal=terminal)
        logger.progress(0, 0, {})
        clock.now += 10
        logger.progress(500, 3, {})
        logger.info("evaluating")
        logger.close()
        assert ("\x1b" in out.getvalue()) == terminal
        assert ("━" in out.getvalue()) == terminal
        assert "500/1,000 steps" in out.getvalue() and "evaluating" in out.getvalue()


def test_a_full_disk_is_told_once_and_the_run_goes_on(make, tmp_path, monkeypatch):
    logger, _, out = make()
    append = logger._file.append

    def full(record):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(logger._file, "append", full)
    logger.metrics(1, 1, {})
    logger.metrics(2, 2, {})
    assert out.getvalue().count("No space left on device") == 1
    monkeypatch.setattr(logger._file, "append", append)
    logger.metrics(3, 3, {})
    assert "2 lines were lost" in out.getvalue()
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [3]


def events(folder):
    """TensorBoard's record format: length (8 bytes), its checksum (4), the event, its checksum (4)."""
    found = []
    for path in sorted(folder.iterdir()):
        data, position = path.read_bytes(), 0
        while position < len(data):
            size = int.from_bytes(data[position : position + 8], "little")
            found.append(Event.FromString(data[position + 12 : position + 12 + size]))
            position += 16 + size
    return found


def test_tensorboard_gets_names_and_the_plans_tags(make, tmp_path):
    logger, _, _ = make(tensorboard=True)
    values = {"episode/return": 7.0, "imagination/return": 5.0, "train/world_model_loss": 2.5, "other": 1.0}
    logger.metrics(12, 3, values)
    state = logger.state_dict()
    logger.close()
    written = {v.tag: (e.step, v.simple_value) for e in events(tmp_path / "tensorboard") for v in e.summary.value}
    assert written == {name: (12, value) for name, value in values.items()} | {
        "Episode/Real_Reward": (12, 7.0),
        "Episode/Imagined_Reward": (12, 5.0),
        "Training/World_Model_Loss": (12, 2.5),
    }

    again, _, _ = make(tensorboard=True)
    again.load_state_dict(state)
    again.metrics(24, 6, {"other": 2.0})
    again.close()
    starts = [e.step for e in events(tmp_path / "tensorboard") if e.HasField("session_log")]
    assert 13 in starts  # whatever an earlier session wrote from step 13 on is void


def test_without_tensorboard_no_folder(make, tmp_path):
    logger, _, _ = make()
    logger.metrics(0, 0, {"a": 1})
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (3599, "59:59"), (3661, "1:01:01")])
def test_duration(seconds, text):
    assert _duration(seconds) == text
