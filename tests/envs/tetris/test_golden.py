"""Recorded steps of tetris-gymnasium 0.3.1, replayed. `experiments/difftest.py` says how they were recorded."""

import pathlib

import numpy as np
import pytest

from experiments import difftest

PATH = pathlib.Path(__file__).parent / "golden" / "traces.npz"


@pytest.fixture(scope="module")
def episodes():
    return difftest.load(PATH)


def test_every_recorded_step_is_equal(episodes):
    assert difftest.differences(episodes) == []


def test_the_record_covers_the_game(episodes):
    counts = difftest.summary(episodes)
    assert counts["steps"] >= 20_000 and counts["holds"] >= 1_000 and counts["lost games"] >= 100
    assert all(counts[f"clears of {n}"] >= 5 for n in range(1, 5))
    assert {difftest.KINDS[int(episode["kind"])] for episode in episodes} == set(difftest.KINDS)
    assert PATH.stat().st_size < 300_000


@pytest.mark.parametrize("field", difftest.FIELDS)
def test_a_difference_in_any_field_is_reported_with_its_step(episodes, field):
    episode = {name: value.copy() for name, value in episodes[0].items()}
    step = len(episode["action"]) - 2
    episode[field][step] = np.logical_not(episode[field][step]) if episode[field].dtype == bool else 9
    (message,) = difftest.differences([episode])
    assert message.startswith(f"episode 0 ({difftest.KINDS[0]}), step {step}, action") and f"{field}: " in message


def test_records_are_written_and_read_without_loss(episodes, tmp_path):
    path = tmp_path / "folder" / "some.npz"
    difftest.save(path, episodes[:5])
    for before, after in zip(episodes[:5], difftest.load(path), strict=True):
        assert before.keys() == after.keys()
        for name in before:
            np.testing.assert_array_equal(before[name], after[name], err_msg=name)


@pytest.mark.parametrize("steps", ["0", "many"])
def test_wrong_usage_is_reported(steps, capsys):
    with pytest.raises(SystemExit) as raised:
        difftest.main([f"--steps={steps}"])
    assert raised.value.code == 2 and "--steps" in capsys.readouterr().err
