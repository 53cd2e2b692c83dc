"""When updates run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamjax.algorithms.update import TASK
from dreamjax.config import from_dict, merge, presets
from dreamjax.training.schedule import (
    Pending,
    PlanSchedule,
    RatioSchedule,
    Schedule,
    crossed,
    make_schedule,
    with_explorer,
)
from tests.helpers.configs import make_tiny_config, vary

ROUND = [Pending(("world_model",), 10, 32), Pending(("actor_critic",), 5, 16)]


def plan() -> PlanSchedule:
    return PlanSchedule(*ROUND, collect_steps=200, start=1000)


def drive(schedule: Schedule, step: int) -> list[Pending]:
    pending = schedule.pending(step)
    assert schedule.pending(step) == pending  # asking changes nothing
    schedule.mark_done(pending)
    return pending


@given(
    ratio=st.floats(1e-3, 20),
    num_envs=st.integers(1, 64),
    start=st.integers(0, 500),
    saved=st.integers(0, 60),
)
def test_ratio_holds_for_any_number_of_environments_across_save_and_load(
    ratio: float, num_envs: int, start: int, saved: int
) -> None:
    schedule = RatioSchedule(ratio, start=start, batch_size=4)
    for i in range(60):
        if i == saved:
            fresh = RatioSchedule(ratio, start=start, batch_size=4)
            fresh.load_state_dict(schedule.state_dict())
            schedule = fresh
        step = (i + 1) * num_envs
        drive(schedule, step)
        assert abs(schedule.updates - ratio * max(0, step - start)) < 1


def test_no_update_is_due_before_the_start_nor_made_up_for_after_it() -> None:
    schedule = RatioSchedule(1.0, start=100, batch_size=4)
    assert drive(schedule, 100) == []
    assert drive(schedule, 101) == [Pending(TASK, 1, 4)]


def reference_updates(steps: int, num_envs: int, *, ratio: float, length: int, wait: int) -> int:
    """Updates of danijar/dreamerv3 within so many steps, counted as its training loop does (``embodied/run/train.py``).

    Environments add their steps in turn; each step beyond a stream's first ``length`` completes a window of ``length``
    steps and the one before. With ``wait`` windows there is one update, from then on ``ratio`` to a step.
    """
    streams, windows, updates, last = [0] * num_envs, 0, 0, None
    for step in range(1, steps + 1):
        env = (step - 1) % num_envs
        streams[env] += 1
        windows += streams[env] > length
        if windows < wait:
            continue
        due = 1 if last is None else int((step - last) * ratio)
        last = step if last is None else last + due / ratio
        updates += due
    return updates


@pytest.mark.parametrize(
    ("num_envs", "train_ratio", "expected"), [(16, 32, 562), (1, 256, 4729), (1, 512, 9457), (16, 1024, 17953)]
)
def test_dreamerv3_makes_the_updates_of_the_reference(num_envs: int, train_ratio: float, expected: int) -> None:
    """1 + (20,000 - 64 num_envs - 1,024) train_ratio / 1,024, rounded down; at all steps where environments are level."""
    config = from_dict(merge(presets.dreamerv3(), {"num_envs": num_envs, "train_ratio": train_ratio}))
    schedule = make_schedule(config)
    for step in range(num_envs, 20_001, num_envs):
        drive(schedule, step)
        if step in (64 * num_envs + 1008, 64 * num_envs + 1024, 20_000) or step % 4000 == 0:
            there = reference_updates(step, num_envs, ratio=train_ratio / 1024, length=64, wait=1024)
            assert schedule.updates == there, step
    assert schedule.updates == expected


def test_without_min_windows_a_run_learns_from_its_first_windows_on() -> None:
    """16 environments: (20,000 - 1,024) / 32 updates, not 562."""
    config = from_dict(merge(presets.dreamerv3(), {"num_envs": 16, "replay": {"min_windows": 0}}))
    schedule = make_schedule(config)
    assert [drive(schedule, step) for step in (1024, 1040)] == [[], []]
    drive(schedule, 20_000)
    assert schedule.updates == 593


def test_the_first_update_is_made_once_across_save_and_load() -> None:
    schedule = RatioSchedule(0.25, start=100, batch_size=4, first=1)
    assert drive(schedule, 99) == []
    assert drive(schedule, 100) == [Pending(TASK, 1, 4)]
    fresh = RatioSchedule(0.25, start=100, batch_size=4, first=1)
    fresh.load_state_dict(schedule.state_dict())
    assert drive(fresh, 103) == []
    assert drive(fresh, 104) == [Pending(TASK, 1, 4)]


def test_ratio_reports_windows_for_each_step() -> None:
    schedule = RatioSchedule(0.5, start=100, batch_size=4)
    assert schedule.ratio(50) == 0
    drive(schedule, 300)
    assert schedule.ratio(300) == 0.5 * 4


def test_plan_rounds_run_both_phases_in_order_after_each_collection() -> None:
    schedule = plan()
    assert drive(schedule, 1199) == []
    assert drive(schedule, 1200) == ROUND
    assert drive(schedule, 1399) == []
    assert drive(schedule, 1800) == ROUND * 3
    assert schedule.updates == 4 * 15


def test_plan_goes_on_with_the_same_rounds_after_loading() -> None:
    schedule, fresh = plan(), plan()
    drive(schedule, 1450)
    fresh.load_state_dict(schedule.state_dict())
    assert fresh.pending(1599) == []
    assert fresh.pending(1600) == ROUND
    assert fresh.updates == schedule.updates
    assert fresh.ratio(1600) == schedule.ratio(1600)


def test_a_phase_without_batches_is_left_out() -> None:
    schedule = PlanSchedule(ROUND[0], Pending(("actor_critic",), 0, 16), collect_steps=200, start=0)
    assert drive(schedule, 400) == [ROUND[0], ROUND[0]]
    assert schedule.pending(599) == []


def test_learning_waits_until_every_environment_can_fill_a_window() -> None:
    config = make_tiny_config(num_envs=8, batch_length=6, replay={"min_size": 24, "capacity": 256})
    schedule = make_schedule(config)
    assert schedule.pending(48) == []
    assert schedule.pending(48 + 1000)[0].phases == TASK


def test_plan_configuration_draws_smaller_batches_to_imagine_from() -> None:
    config = make_tiny_config(
        schedule={"kind": "plan", "collect_steps": 10, "imagination_batch_size": 2}, replay={"min_size": 24}
    )
    due = make_schedule(config).pending(34)
    assert [(item.phases, item.count, item.batch_size) for item in due] == [
        (("world_model",), 10, 4),
        (("actor_critic",), 5, 2),
    ]


@pytest.mark.parametrize(
    ("before", "after", "every", "expected"),
    [(0, 99, 100, False), (99, 100, 100, True), (100, 101, 100, False), (95, 305, 100, True), (0, 10**9, 0, False)],
)
def test_crossed(before: int, after: int, every: int, expected: bool) -> None:
    assert crossed(before, after, every) is expected


@pytest.mark.parametrize("kind", ["ratio", "plan"])
def test_the_explorer_is_trained_in_its_phase(tiny_config, kind):
    """Up to ``explore.steps`` updates are those with the explorer, after it the plain ones; counts are the same."""
    plan = {"kind": kind, "collect_steps": 8, "world_model_batches": 2, "actor_critic_batches": 1}
    plain = vary(tiny_config, schedule={**plan, "imagination_batch_size": 4})
    exploring = vary(plain, ensemble={"size": 2}, explore={"steps": 40})
    left, right = make_schedule(plain), make_schedule(exploring)
    for step in range(0, 64, 2):
        due, without = right.pending(step), left.pending(step)
        assert [(item.count, item.batch_size) for item in due] == [(i.count, i.batch_size) for i in without]
        for item, same in zip(due, without, strict=True):
            expected = same.phases
            if step <= 40 and "actor_critic" in expected:
                expected = (*expected, "explorer")
            assert item.phases == expected
        right.mark_done(due)
        left.mark_done(without)
    assert right.updates == left.updates > 0
    assert set(right.batches) == set(left.batches) | {with_explorer(phases) for phases in left.batches}
    again = make_schedule(exploring)
    again.load_state_dict(right.state_dict())
    assert again.pending(70) == right.pending(70)
