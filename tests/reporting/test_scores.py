"""Score files in the published form, and what is read off them."""

import gzip
import json
import math

import numpy as np
import pytest
from PIL import Image

from dreamjax.reporting import scores as form
from dreamjax.reporting.scores import Score


def score(xs, ys, *, task="t", method="m", seed=0):
    return Score(task, method, seed, np.array(xs, float), np.array(ys, float))


@pytest.mark.parametrize(
    ("env_id", "name"),
    [
        ("ALE/Pong-v5", "atari_pong"),
        ("ALE/BattleZone-v5", "atari_battle_zone"),
        ("ALE/UpNDown-v5", "atari_up_n_down"),
        ("ALE/Qbert-v5", "atari_qbert"),
        ("dm_control/cartpole-swingup_sparse-v0", "dmc_cartpole_swingup_sparse"),
        ("dm_control/ball_in_cup-catch-v0", "dmc_ball_in_cup_catch"),
        ("CartPole-v1", "CartPole-v1"),
    ],
)
def test_names_of_tasks_are_the_published_ones(env_id, name):
    assert form.task_name(env_id) == name


def test_a_published_file_is_read(tmp_path):
    """The first values of two files of danijar/dreamerv3: whole numbers, and nulls in ``ys``."""
    rows = [
        {"task": "atari_alien", "method": "dreamerv3", "seed": 0, "xs": [4112, 6692, 9080], "ys": [280, 180, 170]},
        {"task": "procgen_x", "method": "ppg", "seed": 1, "xs": [500000.0, 0.0, 1000000.0], "ys": [0.5, None, 0.25]},
    ]
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(json.dumps(rows).encode()))
    alien, procgen = form.read_scores(path)
    assert alien[:3] == ("atari_alien", "dreamerv3", 0)
    np.testing.assert_array_equal([alien.xs, alien.ys], [[4112, 6692, 9080], [280, 180, 170]])
    np.testing.assert_array_equal([procgen.xs, procgen.ys], [[500000, 1000000], [0.5, 0.25]])
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows[:1]))
    np.testing.assert_array_equal(form.read_scores(path)[0].xs, alien.xs)


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_what_is_written_has_the_published_form(tmp_path, name):
    path = tmp_path / "new" / name
    form.write_scores(path, [score([2, 4], [0.5, -1], seed=3)])
    data = path.read_bytes()
    assert (data[:2] == b"\x1f\x8b") == name.endswith(".gz")
    assert json.loads(gzip.decompress(data) if name.endswith(".gz") else data) == [
        {"task": "t", "method": "m", "seed": 3, "xs": [2.0, 4.0], "ys": [0.5, -1.0]}
    ]
    form.write_scores(path, form.read_scores(path))
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no", "is neither JSON nor JSON in gzip"),
        (gzip.compress(b"[]" * 50, mtime=0)[:-9], "is neither JSON nor JSON in gzip"),
        (b"{}", "is not a list of runs"),
        (b'[{"task": "t", "method": "m", "xs": [], "ys": []}]', "run 0 has no seed"),
        (
            b'[{"task": "t", "method": "m", "seed": 0, "xs": [1], "ys": ["a"]}]',
            "run 0: xs and ys must be lists of numbers",
        ),
        (b'[{"task": "t", "method": "m", "seed": 0, "xs": [1, 2], "ys": [1]}]', r"xs has shape \[2\] and ys \[1\]"),
    ],
)
def test_other_forms_are_refused(tmp_path, data, message):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        form.read_scores(path)


def test_the_score_at_a_budget():
    run = score([10, 90, 91, 100, 110], [1, 3, 5, 7, 100])
    assert form.score_at(run, 100) == 6  # 5 and 7: above 90 and up to 100
    assert form.score_at(run, 100, share=0.5) == 5
    assert form.score_at(run, 50) == 1  # nothing from 45 to 50: the last value before
    assert math.isnan(form.score_at(run, 9))
    others = [score([5, 80], [0, 0]), score([5, 95], [0, 0])]
    assert form.common_budget({"m": [run], "n": others}) == 80


def test_values_are_averaged_in_intervals():
    curve = form.binned(score([0, 10, 11, 20, 41], [1, 2, 4, 8, 16]), 10)
    np.testing.assert_array_equal(curve.step, [10, 20, 50])
    np.testing.assert_array_equal(curve.value, [1.5, 6, 16])  # (1 + 2) / 2, (4 + 8) / 2, 16


def test_a_panel_for_each_task(tmp_path):
    runs = [
        score([10, 20], [0, 2], task=task, method=method, seed=seed)
        for task in "abcde"
        for method in ("m", "n")
        for seed in (0, 1)
    ]
    empty = score([], [], task="f")
    path = form.plot_scores([*runs, empty], tmp_path / "new" / "a.png")
    with Image.open(path) as image:
        assert image.size == (round(4 * 3.4 * 120), round((2 * 2.7 + 0.4) * 120))  # five panels in two lines of four
        colors = np.asarray(image.convert("RGB")).reshape(-1, 3)
    for color in ((31, 119, 180), (255, 127, 14)):  # a line of each method (C0 and C1), here and in the legend
        assert (colors == color).all(1).any()
    with pytest.raises(ValueError, match="no run has a value"):
        form.plot_scores([empty], path)
