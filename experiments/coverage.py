"""Distinct boards that runs have seen, beside random play for as many environment steps in the same games.

    python -m experiments.coverage --runs=runs/tetris_explore,runs/tetris_plain --json=coverage.json
    python -m experiments.coverage --runs=runs/tetris_explore --steps=6000,12000

The runs must have counted them (``log.coverage``). Counted are settled boards (what has locked, without the falling piece)
and, coarsely, blocks of 4 x 2 cells that are more than half full or not, as Go-Explore tells places apart. A settled board
is new at most once for each piece that locks, and at most one piece locks in a step: "locks" bounds what can be reached.
"random" presses each button with probability 1/2, or takes a legal cell; "untrained" presses with the probabilities that
the runs' actor begins with (``actor.binary_bias``).

Exit codes: 0 done, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dreamjax.commands import cli, compile_cache
from dreamjax.reporting.metrics import read_metrics
from dreamjax.training.storage import workdir
from dreamjax.training.storage.workdir import UsageError

if TYPE_CHECKING:
    from dreamjax.config import Config

COUNTS = ("boards", "coarse")
CAPACITY = 10_000_000
Point = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser("python -m experiments.coverage", __doc__)
    parser.add_argument("--runs", required=True, metavar="DIR,...", help="work directories of the same games")
    parser.add_argument("--steps", metavar="N,...", help="where to compare (default: explore.steps, and all)")
    parser.add_argument("--seed", type=int, default=0, help="of random play (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result here")
    known = parser.parse_args(arguments)
    if known.seed < 0:
        raise UsageError(f"--seed={known.seed} is not allowed: must be 0 or more")
    runs = [Path(run) for run in known.runs.split(",")]
    configs = [workdir.read_config(run) for run in runs]
    first = configs[0]
    for run, config in zip(runs, configs, strict=True):
        if config.env != first.env:
            raise UsageError(f"--runs={known.runs} is not allowed: {run} plays another game than {runs[0]}")
    steps = _steps(known.steps, configs)
    result: dict[str, Any] = {str(run): curve(run, steps) for run in runs}
    compile_cache.enable()
    for name, chance in _players(first).items():
        result[name] = random_play(first, steps, chance=chance, seed=known.seed)
    print(table(result, "random"))
    if known.json:
        facts = {"env": first.env.id, "action_mode": first.env.action_mode, "seed": known.seed, "players": result}
        try:
            known.json.write_text(json.dumps(facts, indent=1) + "\n")
        except OSError as error:
            return cli.fail(f"--json={known.json} cannot be written: {error}")
    return cli.OK


def _steps(text: str | None, configs: list[Config]) -> list[int]:
    if text is None:
        last = min(config.total_steps for config in configs)
        phases = {config.explore.steps for config in configs if 0 < config.explore.steps < last}
        return [*sorted(phases), last]
    try:
        steps = sorted({int(float(part)) for part in text.split(",")})
    except (ValueError, OverflowError):
        steps = [0]
    if steps[0] < 1:
        raise UsageError(f"--steps={text} is not allowed: must be whole numbers above 0, joined by commas")
    return steps


def _players(config: Config) -> dict[str, np.ndarray | None]:
    bias = np.array(config.actor.binary_bias)
    return {"random": None} | ({"untrained": 1 / (1 + np.exp(-bias))} if bias.size else {})


def curve(run: Path, steps: list[int]) -> list[Point]:
    """What a run had counted by each of ``steps``: at its last line of metrics not after it.

    Raises:
        UsageError: the run has not counted, or not so far.
    """
    lines = [line for line in read_metrics(run / "metrics.jsonl") if line.get("coverage/boards") is not None]
    points: list[Point] = []
    for step in steps:
        before = [line for line in lines if line["step"] <= step]
        if not before or lines[-1]["step"] < 0.95 * step:
            raise UsageError(f"{run} has no log.coverage at {step:,} steps")
        last = before[-1]
        points.append({"step": last["step"]} | {name: last[f"coverage/{name}"] for name in COUNTS})
    return points


def random_play(config: Config, steps: list[int], *, chance: np.ndarray | None, seed: int) -> list[Point]:
    """The same of random play: buttons pressed with probabilities ``chance [bits]`` (1/2 each), or legal classes."""
    from dreamjax.envs.adapter import EnvError, make_env
    from dreamjax.training.coverage import Coverage
    from dreamjax.types import MASK_KEY

    try:
        env = make_env(config.env, config.num_envs, seed=seed)
    except EnvError as error:
        raise UsageError(str(error)) from error
    try:
        coverage, rng = Coverage(env.spec, CAPACITY), np.random.default_rng(seed)
        part = env.spec.action.parts[0]
        if len(env.spec.action.parts) != 1 or part.kind == "continuous":
            raise UsageError("random play is for buttons, or for one choice of many")
        records, points, locks = env.reset(seed), [], 0.0
        pieces = np.zeros(config.num_envs)
        for step in range(config.num_envs, steps[-1] + config.num_envs, config.num_envs):
            score = rng.random((config.num_envs, part.size))
            if part.kind == "binary":
                action = (score < (0.5 if chance is None else chance[None])).astype(np.int32)
            else:
                legal = records.obs.get(MASK_KEY, np.ones_like(score))
                action = np.argmax(score * (legal > 0), 1).astype(np.int32)[:, None]
            action[records.is_last] = 0
            final, records = env.step(action)
            for seen in filter(None, (final, records)):
                coverage.add(seen)
                now = seen.info.get("pieces", np.zeros(len(seen)))
                locks += float(np.maximum(now - pieces[seen.env], 0).sum())
                pieces[seen.env] = now
            if any(step - config.num_envs < wanted <= step for wanted in steps):
                counted = {name.removeprefix("coverage/"): value for name, value in coverage.metrics().items()}
                points.append({"step": step, "locks": locks} | counted)
        return points
    finally:
        env.close()


def table(result: dict[str, list[Point]], base: str) -> str:
    """Counts of all, and how many times those of ``base``."""
    lines = [f"{'':<34}{'steps':>9}{'locks':>9}" + "".join(f"{name:>11}{'times':>8}" for name in COUNTS)]
    for player, points in result.items():
        for i, point in enumerate(points):
            locks = f"{point['locks']:,.0f}" if "locks" in point else ""
            shown = f"{player[-33:]:<34}{point['step']:>9,.0f}{locks:>9}"
            for name in COUNTS:
                shown += f"{point[name]:>11,.0f}{point[name] / max(result[base][i][name], 1):>8.2f}"
            lines.append(shown)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
