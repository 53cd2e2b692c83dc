"""Kills runs at random moments and sees that, resumed until done, they end as if nothing had happened.

``python -m tests.chaos [--runs N] [--kills K] [--seed S] [--fast]`` trains a tiny Dreamer on Tetris in peace and N times
under SIGKILL: at a random time, after a random line of metrics, or inside a save (seen by its temporary directory). The
same command goes on until the run is complete. Then parameters, optimizers, replay, environments and lines of metrics must
equal those of the run in peace bit for bit. It prints a line for each run and the count, and exits 1 if one differs.

Each try is a process of its own, forked from this one, which has imported everything and started nothing: that saves the
imports. All share one cache of compiled programs. With ``--fast`` the learner is a few sums over what it reads, its
environment counts, and a run takes seconds: loop, replay, checkpoints, logs and the command are the same.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.helpers.configs import SIZES
from tests.helpers.xla import QUICK_FLAGS, set_environment

set_environment()
os.environ.setdefault("XLA_FLAGS", f"{QUICK_FLAGS} --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

CONFIG: dict[str, Any] = {
    "total_steps": 160,
    "num_envs": 2,
    "batch_size": 4,
    "batch_length": 6,
    "horizon": 3,
    "train_ratio": 6.0,
    "env": {"action_mode": "direct", "kwargs": {"max_episode_length": 9}},
    "replay": {"capacity": 96, "min_size": 24, "sampler": "prioritized", "online": 0.25, "keep_latents": True},
    **SIZES,
    "optimizer": {"warmup": 2},
    "checkpoint": {"every": 16},
    "eval": {"every": 0, "episodes": 1, "num_envs": 1},
    "log": {"tensorboard": False, "metrics_every": 3, "every": 1e9},
}
KINDS = ("time", "line", "save")
LIMIT = 600  # seconds that a try may take
TRIES = 40


class Try(NamedTuple):
    """How one process ended: its exit code, or None where it was killed, and whether that was inside a save."""

    code: int | None
    inside_save: bool
    seconds: float


def simplify() -> None:
    """Puts the tests' fake learner and environments in the place of Dreamer and Tetris."""
    from dreamjax.training import build, trainer
    from tests.helpers.fakes import FakeEnv, fake_agent

    trainer.make_agent = lambda *_: fake_agent()  # type: ignore[assignment]
    build.make_env = lambda env, num, *, seed: FakeEnv([3, 7][:num])  # type: ignore[assignment, misc]


def launch(config: Path, workdir: Path) -> int:
    """Starts ``experiments.train`` in a forked process, which writes to ``<workdir>.log``; returns its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        log = os.open(workdir.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        from dreamjax.commands import train
        from dreamjax.reporting import dreams
        from dreamjax.training import trainer

        # Pictures come after the last save, and take seconds.
        dreams.dream_report = lambda *args, **kwargs: {}
        trainer.leave_report = lambda *_: None  # type: ignore[assignment]
        code = train.main([f"--config={config}", f"--workdir={workdir}"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def attempt(config: Path, workdir: Path, kind: str | None, rng: np.random.Generator, seconds: float) -> Try:
    """One process, killed at a moment of this kind, or left alone where ``kind`` is None."""
    lines, saves = count_lines(workdir), saving(workdir)
    start, awaited, left = time.monotonic(), int(rng.integers(1, 6)), int(rng.integers(1, 4))
    when = start + seconds * rng.random() if kind == "time" else float("inf")
    pause = float(rng.exponential(0.03))
    pid = launch(config, workdir)
    while time.monotonic() < start + LIMIT:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return Try(os.waitstatus_to_exitcode(status), False, time.monotonic() - start)
        now = saving(workdir)
        left -= bool(now - saves)  # another save has begun; one that was left by a killed run does not count
        saves |= now
        if (kind == "save" and left == 0) or (kind == "line" and count_lines(workdir) >= lines + awaited):
            when = min(when, time.monotonic() + pause)
        if time.monotonic() >= when:
            break
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    return Try(None if code == -signal.SIGKILL else code, bool(saving(workdir)), time.monotonic() - start)


def count_lines(workdir: Path) -> int:
    try:
        return (workdir / "metrics.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def saving(workdir: Path) -> set[str]:
    """Saves that are under way, or were when the run was killed."""
    try:
        return {name for name in os.listdir(workdir / "checkpoints") if name.startswith("tmp.")}
    except OSError:
        return set()


def survive(
    config: Path, workdir: Path, rng: np.random.Generator, seconds: float, most: int
) -> tuple[int, int, list[str]]:
    """Kills 1 to ``most`` tries, then runs until done; kills, kills inside saves, and of which kind they were."""
    kinds: list[str] = [str(kind) for kind in rng.choice(KINDS, rng.integers(1, most + 1), p=(0.25, 0.35, 0.4))]
    kills = inside = 0
    for number in range(TRIES):
        kind = kinds[number] if number < len(kinds) else None
        result = attempt(config, workdir, kind, rng, seconds)
        if result.code == 0:
            return kills, inside, kinds[:kills]
        if result.code is not None:
            raise RuntimeError(f"exit code {result.code}; see {workdir.with_suffix('.log')}")
        kills, inside = kills + 1, inside + result.inside_save
    raise RuntimeError(f"not done after {TRIES} tries")


def differences(ours: Path, theirs: Path, agent: Any) -> str | None:
    """What differs between two complete runs, or None."""
    from tests.helpers import runs

    try:
        runs.assert_same(runs.contents(ours, agent), runs.contents(theirs, agent))
        assert runs.lines(ours) == runs.lines(theirs), "metrics.jsonl differs"
    except AssertionError as error:
        return str(error)
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 if every run ended alike, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--kills", type=int, default=2, help="of one run at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fast", action="store_true", help="the fake learner")
    parser.add_argument("--folder", type=Path, help="where the runs are kept (default: a temporary folder)")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="dreamjax-chaos-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        return _main(folder, given.runs, given.seed, given.kills, given.fast)


def _main(folder: Path, count: int, seed: int, most: int, fast: bool) -> int:
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "jax_cache"))
    config = folder / "config.py"
    config.write_text(f"def get_config(variant=''):\n    return {CONFIG!r}\n")
    # Imported here, before the first fork; nothing touches a device until the last run has ended.
    from dreamjax.agents.agent import make_agent
    from dreamjax.commands import train  # noqa: F401
    from dreamjax.config import from_dict
    from dreamjax.reporting import dreams  # noqa: F401
    from dreamjax.training import trainer
    from dreamjax.training.storage import checkpoint, recording

    if fast:
        simplify()
    begin, rng = time.monotonic(), np.random.default_rng(seed)
    peace = folder / "peace"
    for path in (peace, folder / "warm"):  # the second one is timed, and shows that two in peace are alike
        first = attempt(config, path, None, rng, 0)
        if first.code != 0:
            print(path.with_suffix(".log").read_text())
            raise SystemExit("the run in peace failed")
    print(f"in peace: {first.seconds:.1f} s", flush=True)
    ended: dict[Path, str | None] = {folder / "warm": None}
    kills = inside = 0
    for number in range(count):
        path = folder / f"{number:03d}"
        try:
            draws = np.random.default_rng([seed, number])
            killed, saves, kinds = survive(config, path, draws, first.seconds, most)
        except RuntimeError as error:
            ended[path] = str(error)
            print(f"run {number}: {error}", flush=True)
            continue
        ended[path] = None
        kills, inside = kills + killed, inside + saves
        print(f"run {number}: killed {killed} times ({', '.join(kinds)}), {saves} inside a save", flush=True)

    newest = checkpoint.latest(peace)
    assert newest is not None
    make = trainer.make_agent if fast else make_agent
    agent = make(from_dict(CONFIG), recording.spec_from_dict(checkpoint.read_meta(newest)["spec"]))
    for path, problem in ended.items():
        ended[path] = problem or differences(path, peace, agent)
        if ended[path]:
            print(f"{path.name} differs: {ended[path]}")
    alike = sum(problem is None for path, problem in ended.items() if path.name != "warm")
    print(
        f"{alike} of {count} killed runs ended bit for bit as the run in peace: {kills} kills, {inside} of them inside a "
        f"save; {time.monotonic() - begin:.0f} s"
    )
    return 0 if all(problem is None for problem in ended.values()) and kills else 1


if __name__ == "__main__":
    sys.exit(main())
