"""`dreamjax scores`: work directories and score files in one table, with values by hand."""

import json

import pytest

from dreamjax.commands import cli, scores
from dreamjax.reporting.scores import read_scores
from dreamjax.training.storage.workdir import write_config
from tests.helpers.configs import make_tiny_config


def make_run(path, values, **overrides):
    path.mkdir(parents=True)
    write_config(path, make_tiny_config(**overrides))
    lines = [{"step": step, "update": 0, "episode/return": value} for step, value in values.items()]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def make_file(path, *runs):
    rows = [dict(zip(("task", "method", "seed", "xs", "ys"), run, strict=True)) for run in runs]
    path.write_text(json.dumps(rows))
    return str(path)


@pytest.fixture
def runs(tmp_path):
    """Two seeds of Pong with frames up to 400 and 440, at an action repeat of 4."""
    pong = {"id": "ALE/Pong-v5"}
    return [
        make_run(tmp_path / "0", {5: -20.0, 99: 4.0, 100: 6.0}, env=pong),
        make_run(tmp_path / "1", {50: 0.0, 60: None, 100: 10.0, 110: 90.0}, env=pong, seed=1),
    ]


def test_ours_beside_theirs(runs, tmp_path, capsys):
    theirs = make_file(
        tmp_path / "theirs.json",
        ("atari_pong", "dreamerv3", 0, [100, 400, 500], [0, 2, 70]),
        ("atari_pong", "dreamerv3", 1, [100, 400, 500], [0, 4, 70]),
        ("atari_alien", "dreamerv3", 0, [100], [500]),
    )
    out, png = tmp_path / "out.json.gz", tmp_path / "out.png"
    assert scores.main([*runs, theirs, "--action-repeat=4", f"--json={out}", f"--png={png}"]) == cli.OK
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:4] == [
        ["atari_pong", "dreamjax", "400", "2", "7.5", "5", "10"],  # seed 0: (4 + 6) / 2, seed 1: 10
        ["atari_pong", "dreamerv3", "400", "2", "3", "2", "4"],
        ["atari_alien", "dreamerv3", "100", "1", "500", "500", "500"],
    ]
    said = [" ".join(line) for line in lines[5:]]
    assert said == [
        "interquartile mean over 1 of 2 tasks, scores not normalized",
        "dreamjax: 7.5, 95 % interval 5 to 10, 2 runs",
        "dreamerv3: 3, 95 % interval 2 to 4, 2 runs",
        f"wrote {out}",
        f"wrote {png}",
    ]
    assert png.read_bytes()[:4] == b"\x89PNG"
    first, second = read_scores(out)
    assert (first[:3], second[:3]) == (("atari_pong", "dreamjax", 0), ("atari_pong", "dreamjax", 1))
    assert (first.xs.tolist(), first.ys.tolist()) == ([20, 396, 400], [-20, 4, 6])
    assert second.xs.tolist() == [200, 400, 440]


def test_normalized_over_tasks(tmp_path, capsys):
    path = make_file(
        tmp_path / "a.json",
        *(("a", "m", seed, [1], [value]) for seed, value in enumerate([10, 20, 30, 60])),
        *(("b", "m", seed, [1], [value]) for seed, value in enumerate([-1, 0, 1, 3])),
    )
    bounds = tmp_path / "bounds.json"
    bounds.write_text(json.dumps({"a": [10, 60], "b": [-1, 1], "unused": [0, 1]}))
    assert scores.main([path, f"--normalize={bounds}", "--resamples=10"]) == cli.OK
    # a: 0, 0.2, 0.4, 1; b: 0, 0.5, 1, 2. The middle four of eight are 0.2, 0.4, 0.5 and 1.
    assert "over 2 of 2 tasks, scores normalized\nm: 0.525, 95 % interval " in capsys.readouterr().out
    assert scores.main([path, "--task=a"]) == cli.OK
    assert "over 1 of 1 tasks, scores not normalized\nm: 25, 95 % interval " in capsys.readouterr().out
    bounds.write_text(json.dumps({"a": [10, 60], "b": [1, 1]}))
    assert scores.main([path, f"--normalize={bounds}"]) == cli.USAGE
    assert "b has twice 1, must be two different numbers" in capsys.readouterr().err
    bounds.write_text(json.dumps({"a": [10, 60]}))
    assert scores.main([path, f"--normalize={bounds}"]) == cli.USAGE
    assert "has no entry for b" in capsys.readouterr().err


def test_an_early_budget_leaves_out_runs_without_values(tmp_path, capsys):
    path = make_file(tmp_path / "a.json", ("a", "m", 0, [10], [1]), ("a", "m", 1, [5], [3]), ("a", "n", 0, [10], [1]))
    assert scores.main([path, "--frames=5"]) == cli.OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:3]] == [
        ["a", "m", "5", "1", "3", "3", "3"],
        ["a", "n", "5", "0", "nan", "nan", "nan"],
    ]
    assert lines[-2:] == ["m: 3, no interval: one run of each task, 1 runs", "n: no run has a value so early"]


def test_no_task_in_common(runs, tmp_path, capsys):
    path = make_file(tmp_path / "a.json", ("a", "m", 0, [10], [1]))
    assert scores.main([path, runs[0]]) == cli.OK
    assert capsys.readouterr().out.endswith("no task is common to all methods: no interquartile mean\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{0}", "{0}"], "two runs are seed 0 of atari_pong: give other configurations another --method"),
        (["{0}", "--metric=x"], "has not logged x"),
        (["{0}", "--task=b*"], "no score is left of --task=b*"),
        (["{tmp}"], "holds no run"),
        (["{0}", "--action-repeat=0"], "--action-repeat=0 is not allowed: must be 1 or more"),
        (["{0}/config.json"], "is not a list of runs"),
        (["{file}", "--json=x.json"], "--json needs work directories"),
    ],
)
def test_what_cannot_be_compared(runs, tmp_path, capsys, arguments, message):
    file = make_file(tmp_path / "a.json", ("a", "m", 0, [10], [1]))
    given = [argument.format(*runs, tmp=tmp_path, file=file) for argument in arguments]
    assert scores.main(given) == cli.USAGE
    assert message in capsys.readouterr().err


def test_a_task_of_ones_own_name(runs, tmp_path):
    out = tmp_path / "out.json"
    assert scores.main([runs[0], "--task-name=mine", "--method=new", f"--json={out}"]) == cli.OK
    assert read_scores(out)[0][:3] == ("mine", "new", 0)
