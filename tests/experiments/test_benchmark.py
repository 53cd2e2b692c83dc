"""The benchmark's arithmetic on made-up measurements, and what it refuses."""

from __future__ import annotations

import pytest

from experiments.benchmarks import benchmark
from experiments.benchmarks.growth import _fitted
from experiments.benchmarks.growth_page import page
from experiments.benchmarks.loop import rows_of
from experiments.benchmarks.measuring import exponent, in_turns, row

MACHINE = {"cpus": 2, "model": "a processor", "jax": "1.2", "load_before": 0.5, "load_after": 0.25}


def test_exponents_are_slopes_of_logarithms() -> None:
    assert exponent([1, 2, 4], [3, 6, 12]) == pytest.approx(1)
    assert exponent([10, 100], [5, 500]) == pytest.approx(2)
    assert exponent([1, 10, 100], [1, 1, 100]) == pytest.approx(1)  # between the neighbors' 0 and 2
    fitted = _fitted("x", [(100, 100.0), (1, 1.0), (10, 1.0)])
    assert [fitted[name] for name in ("value", "least", "greatest")] == pytest.approx([1, 0, 2], abs=1e-9)


def test_rows_hold_the_median_and_the_spread() -> None:
    made = row("x", [3.0, 1.0, 10.0], "s", more=2)
    assert made == {"name": "x", "unit": "s", "value": 3.0, "least": 1.0, "greatest": 10.0, "more": 2}


def test_turns_are_taken_one_by_one_and_the_first_two_rounds_do_not_count() -> None:
    taken: list[str] = []
    wall, cpu = in_turns({"a": lambda: taken.append("a"), "b": lambda: taken.append("b")}, 3)
    assert "".join(taken) == "ababababab"
    assert [len(x) for x in (*wall.values(), *cpu.values())] == [3] * 4


def test_the_share_of_updates_in_a_loop_by_hand() -> None:
    """10 updates in 6 s, each bare one 0.5 s before and 0.6 s after: 5.5 s of 6. A checkpoint of 2 s each 80 steps."""
    rows = {entry["name"]: entry for entry in rows_of([(6.0, 10, 160)], [0.5, 0.6], 2.0, 80)}
    assert rows["updates in the loop's time"]["value"] == pytest.approx(100 * 5.5 / 6)
    assert rows["the same with checkpoints"]["value"] == pytest.approx(100 * 5.5 / 10)
    assert rows["environment steps of the loop"]["value"] == pytest.approx(160 / 6)


def test_the_page_counts_from_the_rows() -> None:
    growth = [
        row(
            "update 1m, 16x64, horizon 15",
            [0.5],
            "s",
            parameters=600_000,
            gflop=29.0,
            activations_MiB=300.0,
            peak_GiB=1.0,
        ),
        _fitted("a step of all environments, by their number", [(16, 0.01), (256, 0.02)]),
        _fitted("drawing a batch, by steps stored, uniform", [(1000, 1.0), (10_000, 100.0)], bytes_a_step=300.0),
    ]
    text = page(growth, MACHINE, "benchmark growth")
    # 1e8 steps x 64 / 1024 = 6.25e6 updates of 0.5 s: 36.2 days; collected at 12,800 steps/s in 0.1; 30 GB of 300 bytes.
    assert "| 1e+08 | 64 | 6.25e+06 | 181 | 36.2 days | 0.1 days | 30 GB | 6 |" in text
    assert "faster than linearly (exponent above 1.1): drawing a batch, by steps stored, uniform." in text
    assert "256 environments make 12,800 steps/s" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["update", "--sizes=reference", "--config=experiments/cartpole.py"], "--sizes"),
        (["loop", "--sizes=reference"], "--sizes belongs to update"),
        (["update", "--page=x.md"], "--page belongs to growth"),
        (["update", "--repeats=0"], "--repeats=0 is not allowed"),
        (["update", "--size=2m"], "size='2m' is not allowed"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark.main(arguments) == 2
    assert message in capsys.readouterr().err
