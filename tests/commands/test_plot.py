"""`dreamjax plot`: runs that differ in the seed alone are one curve."""

import json

import numpy as np
import pytest
from PIL import Image

from dreamjax.commands import cli, plot
from dreamjax.training.storage.workdir import UsageError, write_config
from tests.helpers.configs import make_tiny_config


def make_run(path, values, **overrides):
    path.mkdir(parents=True)
    write_config(path, make_tiny_config(**overrides))
    lines = [{"step": step, "update": 0, "a": value} for step, value in values.items()]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_runs_of_other_seeds_are_one_curve(tmp_path, capsys):
    runs = [
        make_run(tmp_path / "x" / "mine_0", {10: 1.0, 20: 3.0}),
        make_run(tmp_path / "x" / "mine_1", {10: 2.0, 20: 5.0}, seed=1),
        make_run(tmp_path / "x" / "other", {10: 7.0}, horizon=2),
        make_run(tmp_path / "y" / "other", {}, horizon=4),
    ]
    assert {name: len(alike) for name, alike in plot.group(runs).items()} == {"mine": 2, "other": 1, "other'": 1}
    (tmp_path / "notes.txt").touch()
    runs.append(tmp_path / "notes.txt")
    out = tmp_path / "out" / "a.png"
    assert plot.main([*map(str, runs), "--metric=a", f"--out={out}"]) == cli.OK
    said = capsys.readouterr().out
    assert "mine: 4 ± 1 (3 to 5) at step 20, 2 runs\nother: 7 at step 10, 1 runs\n" in said
    assert "other': 1 of 1 runs have no a\n" in said
    with Image.open(out) as image:
        colors = np.asarray(image.convert("RGB")).reshape(-1, 3)
    for color in ((31, 119, 180), (255, 127, 14)):  # matplotlib's C0, a line, and C1, a dot
        assert (colors == color).all(1).any()


def test_what_cannot_be_plotted(tmp_path, capsys):
    run = make_run(tmp_path / "run", {1: 1.0})
    assert plot.main([str(run), f"--out={tmp_path / 'x.png'}"]) == cli.USAGE
    assert "no run has logged eval/return_mean" in capsys.readouterr().err
    with pytest.raises(UsageError, match="holds no run"):
        plot.group([tmp_path])
