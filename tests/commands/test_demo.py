"""`dreamjax demo`: what it prints of a dream. The dream itself is made by hand; the slow test dreams."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dreamjax.commands import cli, demo, dream
from dreamjax.types import ObsSpec

LENGTH = demo.CONTEXT + 6


@pytest.fixture
def dreamed(monkeypatch):
    """Two windows of a 2 x 4 board: the first ends with its episode, of the second the dream is wrong from frame 8 on."""
    real = np.zeros((2, LENGTH, 2, 2, 4), np.uint8)
    real[1, :, 0, 1] = 1
    guess = real.astype(np.float32)
    guess[1, 7:, 1, 0, 2] = 0.9
    valid = np.ones((2, LENGTH), bool)
    valid[0, 4:] = False
    spec = {"board": ObsSpec("grid", (2, 2, 4), "uint8", 2), "piece": ObsSpec("vector", (1,), "float32")}
    result = {"valid": valid, "real": {"board": real}, "dream": {"board": guess}}
    monkeypatch.setattr(demo, "_dream", lambda agent, **asked: (spec, result))


def test_frames_without_a_terminal(dreamed, capsys, tmp_path):
    assert demo.main([f"--gif={tmp_path / 'dream.gif'}", "--steps=6"]) == cli.OK
    out = capsys.readouterr().out
    assert "frame 5, seen\ngame   dream\n....   ....\n####   ####\n" in out
    assert "frame 10, dreamed: 5 without looking\ngame   dream\n....   ..@.\n####   ####\n" in out
    assert "the first 2 of 6 dreamed frames are right, cell for cell\n" in out
    with Image.open(tmp_path / "dream.gif") as gif:
        assert gif.n_frames == LENGTH


def test_frames_in_a_terminal(dreamed, capsys, monkeypatch):
    monkeypatch.setattr(demo.sys.stdout, "isatty", lambda: True)
    assert demo.main(["--delay=0"]) == cli.OK
    out = capsys.readouterr().out
    assert "▀" in out and f"frame {LENGTH}, dreamed: 6 without looking" in out


def test_half_blocks_hold_two_pixels_each():
    picture = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3)
    (line,) = demo.half_blocks(picture)
    assert line.plain == "▀▀"
    assert [str(span.style) for span in line.spans] == [
        "rgb(0,1,2) on rgb(6,7,8)",
        "rgb(3,4,5) on rgb(9,10,11)",
    ]


@pytest.mark.parametrize(
    ("argument", "message"),
    [("--steps=0", "must be 1 or more"), ("--steps=96", "must be 95 or less"), ("--agent=none", "invalid choice")],
)
def test_impossible_arguments(argument, message, capsys):
    assert demo.main([argument]) == cli.USAGE
    assert message in capsys.readouterr().err


def test_dreams_of_a_shipped_agent_go_to_a_named_folder(capsys):
    assert dream.main(["--workdir=tetris_locked"]) == cli.USAGE
    assert "name a folder for the pictures by --folder" in capsys.readouterr().err


@pytest.mark.slow
def test_the_agent_dreams(capsys):
    """It follows the falling piece exactly for as long as no new piece appears."""
    assert demo.main([]) == cli.OK
    exact = int(capsys.readouterr().out.partition("the first ")[2].split()[0])
    assert exact >= 5
