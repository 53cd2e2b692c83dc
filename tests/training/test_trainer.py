"""The loop, with a fake environment and a fake agent: what is owed, saved, resumed and refused."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.buffers.sequence_buffer import SequenceBuffer
from dreamjax.config import Config, ConfigError
from dreamjax.envs.checks import EnvError
from dreamjax.reporting import dreams
from dreamjax.seeds import EVALUATION
from dreamjax.training import build, metrics, trainer
from dreamjax.training.collection import acting
from dreamjax.training.collection.collector import VectorTransition
from dreamjax.training.evaluation import evaluations
from dreamjax.training.metrics import TrainError
from dreamjax.training.runtime.stop import Stop
from dreamjax.training.storage import checkpoint
from dreamjax.training.storage.checkpoint import CheckpointError
from dreamjax.training.storage.workdir import UsageError
from dreamjax.training.trainer import Trainer
from dreamjax.types import NormalizerState
from tests.helpers import runs
from tests.helpers.configs import make_tiny_config
from tests.helpers.fakes import FakeEnv, fake_agent
from tests.helpers.runs import assert_same, lines

pytestmark = pytest.mark.usefixtures("shared_programs")

Run = Callable[..., Trainer]


def make_config(**overrides: Any) -> Config:
    base: dict[str, Any] = {
        "total_steps": 96,
        "train_ratio": 12.0,
        "checkpoint": {"every": 30, "keep": 10},
        "log": {"tensorboard": False, "metrics_every": 5, "every": 1e9},
        "eval": {"every": 40, "episodes": 3, "num_envs": 2},
    }
    return make_tiny_config(**(base | overrides))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run(config, workdir, stop_after=None, ...)`` makes a trainer on fakes, runs it and closes it."""
    monkeypatch.setattr(dreams, "dream_report", lambda *args, **kwargs: {"dream/x": 1.0})

    def run(
        config: Config,
        path: Path,
        *,
        stop_after: int | None = None,
        bad_update: int | Sequence[int] = -1,
        can_save: bool = True,
        report: bool = False,
        **kwargs,
    ) -> Trainer:
        if not report:  # its picture takes half a second
            monkeypatch.setattr(trainer, "leave_report", lambda *_: None)
        monkeypatch.setattr(trainer, "make_agent", lambda *_: fake_agent(bad_update=bad_update))
        lengths = [3, 7, 5, 4]
        monkeypatch.setattr(
            build, "make_env", lambda env, num, *, seed: FakeEnv((lengths * num)[:num], can_save=can_save)
        )
        asked = itertools.count()
        made = Trainer(config, path, stop=lambda: next(asked) >= (10**9 if stop_after is None else stop_after))
        evaluated = made._evaluations
        try:
            made.complete = made.run()  # type: ignore[attr-defined]
            made.eval_env = evaluated and evaluated.env  # type: ignore[attr-defined]
            made.asked = next(asked)  # type: ignore[attr-defined]
        finally:
            made.close()
        return made

    return run


def contents(path: Path) -> Any:
    return runs.contents(path, fake_agent())


KINDS = {
    "ratio": {},
    "plan": {
        "schedule": {
            "kind": "plan", "collect_steps": 14, "world_model_batches": 3, "actor_critic_batches": 2,
            "imagination_batch_size": 2,
        }
    },
    "prioritized": {"replay": {"capacity": 64, "min_size": 24, "sampler": "prioritized", "online": 0.5}},
    "latents": {"replay": {"capacity": 256, "min_size": 24, "keep_latents": True}},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_equals_uninterrupted(run: Run, tmp_path: Path, kind: str) -> None:
    config = make_config(**KINDS[kind])
    run(config, tmp_path / "whole")
    for stop_after in (2, 17, 44):  # before learning, between lines, right after checkpoints
        path = tmp_path / f"{stop_after}"
        assert not run(config, path, stop_after=stop_after).complete  # type: ignore[attr-defined]
        resumed = run(config, path)
        assert resumed.complete  # type: ignore[attr-defined]
        assert_same(contents(path), contents(tmp_path / "whole"))
        assert lines(path) == lines(tmp_path / "whole")


@pytest.mark.parametrize("total_steps", [80, 96])  # the last step's evaluation is a periodic one, or not
def test_stopped_while_ending(run: Run, tmp_path: Path, total_steps: int) -> None:
    config = make_config(total_steps=total_steps, checkpoint={"every": 80})
    asked = run(config, tmp_path / "whole").asked  # type: ignore[attr-defined]
    steps = [line["step"] for line in lines(tmp_path / "whole") if "eval/return_mean" in line]
    assert steps == sorted({40, 80, total_steps})  # never twice
    for stop_after in range(asked - 4, asked):
        path = tmp_path / f"{stop_after}"
        assert not run(config, path, stop_after=stop_after).complete  # type: ignore[attr-defined]
        assert run(config, path).complete  # type: ignore[attr-defined]
        assert lines(path) == lines(tmp_path / "whole")
        assert_same(contents(path), contents(tmp_path / "whole"))


def test_a_prioritized_run_draws_surprising_windows_more_often(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the update finds surprising (here: steps late in an episode) comes back through the loop and is drawn again."""
    starts: dict[str, list[float]] = {}
    sample = SequenceBuffer.sample

    def spied(self: SequenceBuffer, *args: Any) -> Any:
        batch, indices = sample(self, *args)
        starts[kind].extend(batch.obs["count"][:, 0, 0].tolist())
        return batch, indices

    monkeypatch.setattr(SequenceBuffer, "sample", spied)
    for kind in ("uniform", "prioritized"):
        starts[kind] = []
        run(make_config(replay={"sampler": kind, "min_size": 24, "priority_exponent": 2.0}), tmp_path / kind)
    # The fake update's priority is the step within the episode; episodes last 3 and 7 steps. A window is drawn by the
    # greatest of what follows its start, which may be early itself.
    early = {kind: np.mean(np.less(counts, 2)) for kind, counts in starts.items()}
    assert len(starts["uniform"]) == len(starts["prioritized"]) > 100
    assert np.mean(starts["prioritized"]) > 1.3 * np.mean(starts["uniform"])
    assert early["prioritized"] < 0.75 * early["uniform"]


def test_replay_takes_back_what_updates_learned(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    update = SequenceBuffer.update

    def spied(self: SequenceBuffer, indices: Any, **kwargs: Any) -> None:
        taken.append(kwargs)
        update(self, indices, **kwargs)

    monkeypatch.setattr(SequenceBuffer, "update", spied)
    made = run(make_config(**KINDS["prioritized"]), tmp_path / "prioritized")
    assert len(taken) == made.schedule.updates
    assert all(np.shape(entry["priority"]) == (4, 6) and entry["latents"] is None for entry in taken)
    taken.clear()
    made = run(make_config(**KINDS["latents"]), tmp_path / "latents")
    assert len(taken) == made.schedule.updates
    assert all(np.shape(entry["latents"].deter) == (4, 6, 1) for entry in taken)
    taken.clear()
    run(make_config(), tmp_path / "uniform")
    assert taken == []


def test_latents_of_the_policy_begin_the_windows(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SequenceBuffer, "update", lambda *args, **kwargs: None)  # nothing comes back
    made = run(make_config(**KINDS["latents"]), tmp_path)
    batch, _ = made.buffer.sample(64, 2)
    begins = batch.is_first[:, 0]
    assert not batch.context.deter[begins].any()
    # The policy's latent is half the count, and the step before counted one less.
    np.testing.assert_allclose(batch.context.deter[~begins], (batch.obs["count"][~begins, 0] - 1) / 2)


def test_a_run_of_fewer_steps_goes_on_to_more(run: Run, tmp_path: Path) -> None:
    run(make_config(), tmp_path / "whole")
    run(make_config(total_steps=50), tmp_path / "parts")
    assert any("dream/x" in line for line in lines(tmp_path / "parts"))
    run(make_config(), tmp_path / "parts")
    assert_same(contents(tmp_path / "parts"), contents(tmp_path / "whole"))
    # Lines of the first run's own ending are gone: the uninterrupted one has none there.
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")


@pytest.mark.parametrize("kind", ["ratio", "plan"])
def test_several_updates_in_one_call_are_those_of_single_calls(run: Run, tmp_path: Path, kind: str) -> None:
    """Seven are owed after each step of the environments, or three and two in each round; calls are of three, or two."""
    schedule = KINDS[kind].get("schedule", {})
    plain, many = (
        make_config(train_ratio=84.0, schedule=schedule | {"updates_per_call": n}) for n in (1, 3 - (kind == "plan"))
    )
    made = run(plain, tmp_path / "single")
    run(many, tmp_path / "several")
    assert made.schedule.updates == int(made.state.step) > 20
    # JAX 0.12 compiles an update inside a scan to one that rounds its last bit otherwise.
    rounding = 0.0 if jax.__version_info__ < (0, 11) else 1e-5
    assert_same(contents(tmp_path / "several"), contents(tmp_path / "single"), rounding=rounding)
    assert_same(lines(tmp_path / "several"), lines(tmp_path / "single"), rounding=rounding)
    run(many, tmp_path / "parts", stop_after=21)
    run(many, tmp_path / "parts")
    assert_same(contents(tmp_path / "parts"), contents(tmp_path / "several"))
    assert lines(tmp_path / "parts") == lines(tmp_path / "several")


class SeveralSteps:
    """Stands in for the compiled scan: single steps, all in ``finish``, by the parameters of ``begin``."""

    scan = None

    def __init__(self, policy: Any, env: Any, *, num_steps: int, counted: int, keep_latents: bool) -> None:
        self.policy, self.env, self.num_steps, self.counted = policy, env, num_steps, counted

    def shapes(self, params: Any) -> tuple[Any, ...]:
        return ()

    def begin(self, params: Any, carry: Any, records: Any, key: Any, step: int) -> Any:
        moments = []
        for t in range(self.num_steps):
            at = np.uint32(step + t * self.counted)
            carry, action, _ = self.policy.act(params, carry, records.obs, records.is_first, key, at, greedy=False)
            final, records = self.env.step(np.asarray(action))
            moments.append(VectorTransition(np.asarray(action), None, final, records))
        return carry, moments

    def finish(self, pending: Any) -> Any:
        return pending


@pytest.mark.parametrize("num_steps", [4, 20])  # of 2 environments; 20 owe updates before the first window is stored
def test_several_steps_in_one_call_keep_the_schedule(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_steps: int
) -> None:
    monkeypatch.setattr(build, "engine_of", lambda *_: None)
    monkeypatch.setattr(acting, "CompiledSteps", SeveralSteps)
    config = make_config(schedule={"steps_per_call": num_steps}, checkpoint={"every": 8, "keep": 100})
    made = run(config, tmp_path / "whole")
    call = 2 * num_steps
    last = -(-96 // call) * call
    assert made.step == last < 96 + call
    assert made.schedule.updates == int(made.state.step) == (last - 24) * 12 // (4 * 6)
    evaluated = [line["step"] for line in lines(tmp_path / "whole") if "eval/return_mean" in line]
    assert evaluated == sorted({-(-40 // call) * call, -(-80 // call) * call, last})
    saved = {checkpoint.step_of(path) for path in (tmp_path / "whole" / "checkpoints").iterdir()}
    assert saved == set(range(call, last + 1, call))
    run(config, tmp_path / "parts", stop_after=2)
    run(config, tmp_path / "parts")
    assert_same(contents(tmp_path / "parts"), contents(tmp_path / "whole"))
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")


def test_a_bad_update_within_a_call_is_named(run: Run, tmp_path: Path) -> None:
    config = make_config(train_ratio=84.0, schedule={"updates_per_call": 3})
    with pytest.raises(TrainError, match="update 23: train/loss/update is nan"):
        run(config, tmp_path, bad_update=23)
    made = run(
        make_config(**KINDS["prioritized"], train_ratio=84.0, schedule={"updates_per_call": 3}), tmp_path / "fed"
    )
    assert made.schedule.updates == int(made.state.step)


def test_updates_keep_to_the_ratio_and_lines_to_their_period(run: Run, tmp_path: Path) -> None:
    made = run(make_config(), tmp_path)
    assert made.schedule.updates == int(made.state.step) == (96 - 24) * 12 // (4 * 6)
    training = [line for line in lines(tmp_path) if "replay/ratio" in line]
    assert [line["update"] for line in training] == [5, 10, 15, 20, 25, 30, 35]
    assert training[-1]["replay/ratio"] == pytest.approx(12.0, rel=0.05)
    assert {"episode/return", "episode/length", "train/loss/update", "time/updates_per_s"} <= set(training[-1]) | {
        "time/updates_per_s"
    }


def test_the_time_that_saving_takes_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a clock on which a save takes a second, an evaluation nine, and nothing else any time."""
    clock = SimpleNamespace(now=0.0)

    def lasting(fn: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            clock.now += seconds
            return fn(*args, **kwargs)

        return call

    monkeypatch.setattr(metrics, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(checkpoint, "save", lasting(checkpoint.save, 1.0))
    monkeypatch.setattr(evaluations, "evaluate", lasting(evaluations.evaluate, 9.0))
    run(make_config(checkpoint={"every": 90}), tmp_path)
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    shares = [line["time/save_share"] for line in logged if "time/save_share" in line]
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(3 / 21)  # evaluations at 40 and 80, a save before each, and one at 90
    assert "saving took 15.62 % of the time" in capsys.readouterr().out  # 5 of 32 s


def test_the_plan_runs_its_phases_in_order(run: Run, tmp_path: Path) -> None:
    made = run(make_config(**KINDS["plan"]), tmp_path)
    assert made.schedule.updates == (96 - 24) // 14 * 5
    assert any({"train/loss/world_model", "train/loss/actor_critic"} <= set(line) for line in lines(tmp_path))


def test_evaluations_are_logged_and_score_the_checkpoint(run: Run, tmp_path: Path) -> None:
    made = run(make_config(checkpoint={"every": 40, "keep": 10}), tmp_path)
    assert set(made.eval_env.seeds) == {made.config.seed + EVALUATION}  # the same episodes each time
    evaluations = [line for line in lines(tmp_path) if "eval/return_mean" in line]
    assert [line["step"] for line in evaluations] == [40, 80, 96]
    assert (
        evaluations[0]["eval/length_mean"] == (3 + 3 + 7) / 3
    )  # two episodes of the first environment, one of the second
    metas = [checkpoint.read_meta(path) for path in checkpoint.all_checkpoints(tmp_path)]
    assert [(meta["step"], meta["complete"]) for meta in metas] == [(40, False), (80, False), (96, True)]
    assert [meta["score"] for meta in metas] == [13 / 3] * 3


def test_a_checkpoint_comes_before_each_evaluation(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What kills the process within an evaluation costs no step, and the run that goes on evaluates there first."""
    config = make_config(checkpoint={"every": 10**6, "keep": 1})
    run(config, tmp_path / "whole")

    class Killed(BaseException):
        """Of a process that ends there."""

    def killed(*args: Any, **kwargs: Any) -> None:
        raise Killed

    for path, steps in ((tmp_path / "periodic", 40), (tmp_path / "last", 96)):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            if steps == 96:
                run(config, path, stop_after=58)  # beyond the evaluation at 80
            patch.setattr(evaluations, "evaluate", killed)
            run(config, path)
        assert checkpoint.step_of(checkpoint.latest(path)) == steps  # type: ignore[arg-type]
        assert run(config, path).complete  # type: ignore[attr-defined]
        assert lines(path) == lines(tmp_path / "whole")
        assert_same(contents(path), contents(tmp_path / "whole"))


def test_no_evaluations(run: Run, tmp_path: Path) -> None:
    made = run(make_config(eval={"episodes": 0}), tmp_path)
    assert made.complete and made.eval_env is None  # type: ignore[attr-defined]
    assert not any("eval/return_mean" in line for line in lines(tmp_path))
    assert [checkpoint.step_of(path) for path in checkpoint.all_checkpoints(tmp_path)] == [30, 60, 90, 96]


@pytest.mark.parametrize("can_save", [True, False])
def test_evaluations_in_the_training_environments(run: Run, tmp_path: Path, can_save: bool) -> None:
    config = make_config(eval={"in_training_env": True, "every": 40, "episodes": 3})
    made = run(config, tmp_path / "whole", can_save=can_save)
    assert made.eval_env is None
    seeds = made._source.env.seeds  # type: ignore[union-attr]
    assert seeds.count(made.config.seed + EVALUATION) == 3
    assert (
        len(seeds) == 4 if can_save else len(set(seeds)) == 5
    )  # the start, three evaluations, and new starts after them
    evaluations = [line for line in lines(tmp_path / "whole") if "eval/return_mean" in line]
    assert [line["step"] for line in evaluations] == [40, 80, 96] and evaluations[0]["eval/length_mean"] == 13 / 3
    plain = run(make_config(), tmp_path / "plain", can_save=can_save)
    if can_save:  # training does not notice
        assert_same(contents(tmp_path / "whole")[0], contents(tmp_path / "plain")[0])
    for stop_after in (21, 22):  # within the evaluation at 40
        path = tmp_path / f"{stop_after}"
        assert not run(config, path, stop_after=stop_after, can_save=can_save).complete  # type: ignore[attr-defined]
        assert checkpoint.step_of(checkpoint.latest(path)) == 40  # type: ignore[arg-type]
        assert run(config, path, can_save=can_save).step == plain.step
        if can_save:
            assert_same(contents(path), contents(tmp_path / "whole"))
            assert lines(path) == lines(tmp_path / "whole")


@pytest.mark.parametrize("when", ["made", "played"])
def test_a_run_goes_on_where_a_second_instance_fails(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], when: str
) -> None:
    failed = []

    def fail(*args: Any, **kwargs: Any) -> Any:
        failed.append(when)
        if when == "made":
            raise EnvError("x cannot be made: RuntimeError: port 2000 is taken")
        error = RuntimeError("port 2000 is taken")
        error.add_note("raised by the environment: x, step 3")
        raise error

    target = (build, "open_environments") if when == "made" else (evaluations, "evaluate")
    opened = build.open_environments

    def open_once(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(*target, fail)
        return opened(*args, **kwargs)

    monkeypatch.setattr(*((build, "open_environments", open_once) if when == "made" else (*target, fail)))
    made = run(make_config(), tmp_path)
    assert made.complete and failed == [when]  # type: ignore[attr-defined]
    told = capsys.readouterr().err
    assert "the evaluation failed" in told and "port 2000 is taken" in told
    assert "eval.in_training_env=true" in told and "eval.episodes=0" in told
    assert checkpoint.read_meta(made.last_checkpoint())["score"] is None  # type: ignore[arg-type]


def test_other_errors_within_an_evaluation_end_the_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise TypeError("a fault of ours")

    monkeypatch.setattr(evaluations, "evaluate", fail)
    with pytest.raises(TypeError, match="a fault of ours"):
        run(make_config(), tmp_path)
    assert checkpoint.step_of(checkpoint.latest(tmp_path)) == 40  # type: ignore[arg-type]


def test_the_last_lines_name_the_report_and_the_next_command(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run(make_config(), tmp_path / "mine", report=True)
    report, following = capsys.readouterr().out.splitlines()[-2:]
    assert report.endswith("] report: mine/report.html")
    assert re.search(r"\] next: dreamjax \w+ --workdir=mine", following)
    assert "last evaluation" in (tmp_path / "mine" / "report.html").read_text()


def test_a_complete_run_is_left_alone(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(make_config(), tmp_path)
    before = sorted(tmp_path.rglob("*")), lines(tmp_path)
    assert run(make_config(), tmp_path).complete  # type: ignore[attr-defined]
    assert "already complete" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before[0]
    assert lines(tmp_path) == before[1]


def test_a_bad_loss_ends_the_run_and_keeps_the_last_good_checkpoint(run: Run, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="update 22: train/loss/update is nan"):
        run(make_config(), tmp_path, bad_update=22)
    steps = [checkpoint.step_of(path) for path in checkpoint.all_checkpoints(tmp_path)]
    assert steps == [30, 40, 60]  # periodic ones, and before the evaluation at 40
    assert run(make_config(), tmp_path).complete  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["ratio", "prioritized", "latents"])
def test_bad_updates_are_left_out_and_told(
    run: Run, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config(**(KINDS[kind] | {"optimizer": {"skip_nonfinite": 2}}))
    bad = (7, 22, 23, 26)
    made = run(config, tmp_path / "whole", bad_update=bad)
    assert made.complete and made.schedule.updates == int(made.state.step)  # type: ignore[attr-defined]
    assert np.isfinite(made.state.params["world_model"]["w"]).all()
    told = capsys.readouterr().out
    assert "update 7 is skipped: train/loss/update is nan (1 of at most 2 in a row)" in told
    assert "update 23 is skipped: train/loss/update is nan (2 of at most 2 in a row)" in told
    assert "update 26 is skipped: train/loss/update is nan (1 of at most 2 in a row)" in told
    shares = [line["train/skipped"] for line in lines(tmp_path / "whole") if "train/skipped" in line]
    assert sum(shares[:7]) * 5 == pytest.approx(len(bad))
    run(config, tmp_path / "parts", bad_update=bad, stop_after=34)
    run(config, tmp_path / "parts", bad_update=bad)
    assert_same(contents(tmp_path / "parts"), contents(tmp_path / "whole"))
    with pytest.raises(TrainError, match=r"update 24: train/loss/update is nan \(3 in a row\)"):
        run(config, tmp_path / "more", bad_update=(22, 23, 24))


@pytest.mark.parametrize("kind", ["prioritized", "latents"])
def test_a_bad_update_is_named_before_replay_learns_of_it(run: Run, tmp_path: Path, kind: str) -> None:
    with pytest.raises(TrainError, match="update 22: train/loss/update is nan"):
        run(make_config(**KINDS[kind]), tmp_path, bad_update=22)


def test_rates_and_times_do_not_follow_the_machines_clock(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = itertools.count()
    monkeypatch.setattr(time, "time", lambda: 1e9 - 86_400 * next(back))  # a day back at every look
    run(make_config(), tmp_path)
    parsed = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    times = [line["wall_time"] for line in parsed]
    assert times == sorted(times) and 0 <= times[0] <= times[-1] < 600
    rates = [value for line in parsed for name, value in line.items() if name.startswith("time/")]
    assert rates and min(rates) >= 0


def test_a_policy_from_a_bad_update_is_not_measured(run: Run, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="update 8:"):  # the last one before the evaluation at step 40
        run(make_config(), tmp_path, bad_update=8)
    assert not any("eval/return_mean" in line for line in lines(tmp_path))


def test_a_disk_full_in_between_is_told_and_tried_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save, full = checkpoint.save, {"at": 60}

    def failing(workdir: Path, step: int, *args: Any, **kwargs: Any) -> Path:
        if step >= full["at"] and step < full.get("until", 90):
            raise CheckpointError("cannot save: No space left on device")
        return save(workdir, step, *args, **kwargs)

    monkeypatch.setattr(checkpoint, "save", failing)
    run(make_config(), tmp_path)
    assert "No space left on device; trying again later" in capsys.readouterr().out
    assert [checkpoint.step_of(path) for path in checkpoint.all_checkpoints(tmp_path)] == [30, 40, 90, 96]
    full |= {"at": 100, "until": 10**9}
    with pytest.raises(CheckpointError, match="No space left"):
        run(make_config(total_steps=120), tmp_path)


def test_environments_without_a_state_are_told_to_begin_anew(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(make_config(), tmp_path, stop_after=20, can_save=False)
    assert run(make_config(), tmp_path, can_save=False).complete  # type: ignore[attr-defined]
    assert "unfinished episodes start over" in capsys.readouterr().out


def test_a_stop_before_the_first_step_leaves_a_checkpoint(run: Run, tmp_path: Path) -> None:
    assert not run(make_config(), tmp_path, stop_after=0).complete  # type: ignore[attr-defined]
    assert checkpoint.step_of(checkpoint.latest(tmp_path)) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_ask_to_stop_and_a_second_interrupt_insists(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Stop() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert stop.signal == number.name
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        ({"horizon": 4}, UsageError),
        ({"parallel": {"num_devices": 5}, "batch_size": 5}, (ConfigError, UsageError)),
        ({"parallel": {"num_devices": 0}, "batch_size": 6}, (ConfigError, UsageError)),
        ({"schedule": {"steps_per_call": 2}}, (ConfigError, UsageError)),
    ],
)
def test_what_is_refused_changes_nothing(run: Run, tmp_path: Path, overrides: dict[str, Any], error: Any) -> None:
    run(make_config(), tmp_path / "run", stop_after=20)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(error):
        run(make_config(**overrides), tmp_path / "run")
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    if error is not UsageError:
        with pytest.raises(ConfigError):
            run(make_config(**overrides), tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_all_devices_share_the_batch(run: Run, tmp_path: Path) -> None:
    made = run(make_config(parallel={"num_devices": 0}), tmp_path)
    assert made.num_devices == 4
    assert len(made.state.params["world_model"]["w"].devices()) == 4


def test_a_checkpoint_says_what_made_it(run: Run, tmp_path: Path) -> None:
    made = run(make_config(), tmp_path, stop_after=20)
    meta = checkpoint.read_meta(made.last_checkpoint())  # type: ignore[arg-type]
    assert meta["config"]["horizon"] == 3
    assert meta["versions"]["jax"] == jax.__version__
    assert meta["update"] == made.schedule.updates


def test_the_explorer_collects_until_its_phase_ends() -> None:
    """It stands in the actor's place; from ``explore.steps`` on the task's actor collects."""
    trainer: Any = object.__new__(Trainer)
    trainer.config = make_tiny_config(explore={"steps": 8}, ensemble={"size": 2, "rate": 0.5})
    params = {name: np.full(1, i) for i, name in enumerate(("actor", "critic", "explorer_actor", "explorer_critic"))}
    novelty = NormalizerState(jnp.float32(1), jnp.float32(4), jnp.int32(1))
    trainer.state = SimpleNamespace(params=params, explorer=SimpleNamespace(novelty=novelty))
    acting, weights = [], []
    for step in (0, 7, 8, 9):
        trainer.collector = SimpleNamespace(step=step)
        inputs = trainer._collecting_inputs()
        acting.append(int(inputs.params["actor"][0]))
        weights.append(inputs.disagreement)
    assert acting == [2, 2, 0, 0]
    np.testing.assert_allclose(weights[0], [6, 1, 0])
    assert weights[1] is not None and weights[2:] == [None, None]
