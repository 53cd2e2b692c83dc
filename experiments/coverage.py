"""Compares the distinct boards that runs have seen with those of random play over as many environment steps.

    python -m experiments.coverage --runs=runs/tetris_explore,runs/tetris_plain --json=coverage.json
    python -m experiments.coverage --runs=runs/tetris_explore --steps=6000,12000

The boards of a run are those in the replay of its newest checkpoint, which must still hold its first steps
(replay.capacity). Settled boards are counted (what has locked, without the falling piece) and, coarsely, blocks of 4 x 2
cells that are more than half full or not, the cells of Go-Explore. At most one piece locks in a step, and a
settled board is new at most once for each piece that locks: "locks" bounds what can be reached. "random" presses each
button with probability 1/2, or takes a legal cell; "untrained" presses with the probabilities of an untrained actor
(``actor.binary_bias``).

Exit codes: 0 done, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dreamjax.commands import cli
from dreamjax.training.runtime import compile_cache
from dreamjax.training.storage import workdir
from dreamjax.training.storage.workdir import UsageError

if TYPE_CHECKING:
    from dreamjax.config import Config
    from dreamjax.types import EnvSpec

COUNTS = ("boards", "coarse")
BLOCK = (4, 2)  # rows and columns of the coarse view
SEED = 7_919  # of the random words that hashes are made of: the same in every run
Point = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser("python -m experiments.coverage", __doc__)
    parser.add_argument("--runs", required=True, metavar="DIR,...", help="work directories of the same games")
    parser.add_argument("--steps", metavar="N,...", help="steps to compare at (default: explore.steps, total_steps)")
    parser.add_argument("--seed", type=int, default=0, help="seed of random play (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result here")
    known = parser.parse_args(arguments)
    cli.require_at_least(known, seed=0)
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
    return {"random": None} | ({"untrained": np.exp(-np.logaddexp(0, -bias))} if bias.size else {})


def curve(run: Path, steps: list[int]) -> list[Point]:
    """What a run had seen after each of ``steps`` environment steps.

    Raises:
        UsageError: its replay cannot be read, has dropped steps, or does not reach so far.
    """
    from dreamjax.config import ReplayConfig
    from dreamjax.training.storage import recording

    found = recording.open_saved_replay(run, "--runs")
    if found.steps >= found.num_envs * found.size:
        raise UsageError(f"--runs={run} is not allowed: its replay is full and may have dropped its first steps")
    if found.steps < 0.95 * steps[-1]:
        raise UsageError(f"--runs={run} is not allowed: its replay has {found.steps:,} steps, not {steps[-1]:,}")
    replay = recording.make_replay(
        ReplayConfig(capacity=found.num_envs * found.size, min_size=1), found.spec, num_envs=found.num_envs, seed=0
    )
    found.fill(replay)
    records, _ = replay.stored()  # by stream, then by age
    lengths = np.bincount(records.env, minlength=found.num_envs)
    age = np.arange(len(records)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    coverage, points, before = Coverage(found.spec), [], 0
    for step in steps:
        last = min(step // found.num_envs, int(lengths.max()))  # steps of each environment
        rows = (before <= age) & (age < last)
        coverage.add({name: value[rows] for name, value in records.obs.items()})
        points.append({"step": last * found.num_envs} | coverage.counts())
        before = last
    return points


def random_play(config: Config, steps: list[int], *, chance: np.ndarray | None, seed: int) -> list[Point]:
    """The same of random play: buttons pressed with probabilities ``chance [bits]`` (None: 1/2 each), or legal cells."""
    from dreamjax.envs.checks import EnvError
    from dreamjax.envs.make import make_env
    from dreamjax.types import MASK_KEY

    try:
        env = make_env(config.env, config.num_envs, seed=seed)
    except EnvError as error:
        raise UsageError(str(error)) from error
    try:
        coverage, rng = Coverage(env.spec), np.random.default_rng(seed)
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
                coverage.add(seen.obs)
                now = seen.info.get("pieces", np.zeros(len(seen)))
                locks += float(np.maximum(now - pieces[seen.env], 0).sum())
                pieces[seen.env] = now
            if any(step - config.num_envs < wanted <= step for wanted in steps):
                points.append({"step": step, "locks": locks} | coverage.counts())
        return points
    finally:
        env.close()


def table(result: dict[str, list[Point]], base: str) -> str:
    """Counts of all players, and their ratio to those of ``base``."""
    lines = [f"{'':<34}{'steps':>9}{'locks':>9}" + "".join(f"{name:>11}{'times':>8}" for name in COUNTS)]
    for player, points in result.items():
        for i, point in enumerate(points):
            locks = f"{point['locks']:,.0f}" if "locks" in point else ""
            shown = f"{player[-33:]:<34}{point['step']:>9,.0f}{locks:>9}"
            for name in COUNTS:
                shown += f"{point[name]:>11,.0f}{point[name] / max(result[base][i][name], 1):>8.2f}"
            lines.append(shown)
    return "\n".join(lines)


def coarse(grids: np.ndarray, block: tuple[int, int] = BLOCK) -> np.ndarray:
    """Bool ``[N, H', W']``: whether more than half of each block of cells of ``grids [N, H, W]`` is not 0.

    The downscaled view by which Go-Explore (Ecoffet et al. 2021) distinguishes places. Blocks at the lower and
    right border are smaller where the size is no multiple.
    """
    filled = (grids != 0).astype(np.int64)
    sizes = np.ones(grids.shape[1:], np.int64)
    for axis, size in enumerate(block):
        starts = np.arange(0, grids.shape[1 + axis], size)
        filled = np.add.reduceat(filled, starts, 1 + axis)
        sizes = np.add.reduceat(sizes, starts, axis)
    return 2 * filled > sizes[None]


class Coverage:
    """Counts the distinct grids in the first channel of the environment's "grid" observation.

    In Tetris that channel holds what has locked: its boards are the settled ones, and the empty one. Of each board a hash
    of 64 bits is kept: of 1,000,000 boards, two share one with a probability of 3e-8.

    Raises:
        UsageError: the environment does not have exactly one grid.
    """

    def __init__(self, spec: EnvSpec) -> None:
        names = [name for name, entry in spec.obs.items() if entry.kind == "grid"]
        if len(names) != 1:
            raise UsageError(f"boards are counted of one grid observation: the environment has {len(names)}")
        self._name = names[0]
        _, height, width = spec.obs[self._name].shape
        self._words = np.random.default_rng(SEED).integers(0, 2**64, height * width, np.uint64, endpoint=False)
        self._seen: dict[str, set[int]] = {name: set() for name in COUNTS}

    def add(self, obs: Mapping[str, np.ndarray]) -> None:
        """Counts the boards of observations, each ``[N, ...]``."""
        grids = obs[self._name][:, 0]
        for name, values in (("boards", grids), ("coarse", coarse(grids))):
            flat = values.reshape(len(values), -1).astype(np.uint64)
            # Sums of random words by cell, modulo 2^64.
            self._seen[name].update(int(value) for value in np.dot(flat, self._words[: flat.shape[1]]))

    def counts(self) -> dict[str, float]:
        """Distinct grids so far, "boards", and distinct coarse views, "coarse"."""
        return {name: float(len(seen)) for name, seen in self._seen.items()}


if __name__ == "__main__":
    sys.exit(main())
