"""`report.html` holds all that it shows, and says what is missing."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from dreamjax.commands import cli
from dreamjax.commands import report as command
from dreamjax.reporting import report
from dreamjax.reporting.media import write_gif, write_png
from dreamjax.training.storage.workdir import write_config
from tests.helpers.configs import make_tiny_config

RECORDS = [
    {"step": 32, "update": 3, "wall_time": 60.0, "episode/return": 1.5, "train/kl": 0.5},
    {"step": 40, "update": 4, "wall_time": 80.0, "eval/return_mean": 4.0, "eval/return_stderr": 0.5},
    {"step": 64, "update": 7, "wall_time": 120.0, "eval/return_mean": 3.0, "eval/return_stderr": 0.25},
    {
        "step": 64, "update": 7, "wall_time": 126.0, "dream/a<b/boards_right": 0.75,
        "dream/a<b/boards_right_unchanged": 0.25, "dream/a<b/boards_right_open_loop": 0.5, "dream/piece/mse": 0.125,
    },
]  # fmt: skip


class Tags(HTMLParser):
    """Checks that tags are closed in order, and keeps the sources of images."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes)["src"])
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    write_config(path, make_tiny_config(env={"id": "CartPole-v1"}))
    return path


def words(text):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))


def test_a_complete_run(run, capsys):
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    frames = [np.full((4, 4, 3), value, np.uint8) for value in (0, 255)]
    write_gif(run / "media" / "dream.gif", frames)
    write_png(run / "media" / "dream.png", frames[0])
    assert command.main([f"--workdir={run}"]) == cli.OK
    assert capsys.readouterr().out == f"wrote {run / 'report.html'}\n"
    text = (run / "report.html").read_text()
    images = Tags(text).images
    assert len(images) == 2 + 2 and all(image.startswith("data:image/") for image in images)  # return, KL, two dreams
    assert "http" not in re.sub(r"data:[^\"]*", "", text)
    shown = words(text)
    for expected in (
        "environment steps 64 of 64",
        "running time 2.1 minutes",
        "last evaluation return 3 ± 0.25 (mean ± standard error, at step 64)",
        "best evaluation return 4 ± 0.5 (mean ± standard error, at step 40)",
        "a&lt;b : grids that are right in every cell 75.00 % 25.00 % 50.00 %",
        "piece : mean squared error of a number 0.125",
        "env.id CartPole-v1 dreamjax/Tetris-v0",
        f"dreamjax evaluate --workdir={run} --episodes=100",
    ):
        assert expected in shown
    assert "dreamjax play" not in shown and "checkpoint.every" not in shown


def test_a_run_that_has_logged_nothing(run):
    text = report.write_report(run, make_tiny_config()).read_text()
    assert Tags(text).images == []
    assert "Nothing has been logged yet." in text and "No picture of a dream yet" in text
    assert "Accuracy" not in text and "Curves" not in text
    assert f"dreamjax play --workdir={run}" in text


def test_a_disk_that_cannot_be_written_does_not_end_the_run(run, monkeypatch, caplog):
    def full(path, text):
        raise OSError("No space left on device")

    monkeypatch.setattr(report.files, "write_text", full)
    caplog.set_level("INFO", logger="dreamjax")
    report.leave_report(run, make_tiny_config())
    assert f"{run / 'report.html'} cannot be written: No space left on device" in caplog.text
    assert command.main([f"--workdir={run}"]) == cli.FAILED


def test_shipped_agents_have_no_report(capsys):
    assert command.main(["--workdir=tetris_locked"]) == cli.USAGE
    assert "comes with the package" in capsys.readouterr().err
