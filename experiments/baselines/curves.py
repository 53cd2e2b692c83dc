"""Results of runs as files of one form, their means over seeds, and the picture of lines per game against steps.

A result is one JSON object:

    agent     what played: ppo, dqn, dreamer, ...          env      dreamjax/Tetris-v0/<action mode>
    reward    the name of what it was paid for             seed     of the run
    curve     [{"step": environment steps, "lines": {"mean", "stderr", "episodes"}}], steps rising
    command   that made it                                 hardware that it ran on
    wall_s    seconds it took, evaluation included

``stderr`` is the standard error over the games of that evaluation; ``episodes`` the lines of every game, or how many
games there were. More entries may follow, of a result and of a point. A curve of one point at step 0 is of a player that
does not learn.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dreamjax import files
from dreamjax.config import to_dict
from dreamjax.configs.tetris_locked import REWARDS
from dreamjax.reporting.metrics import read_metrics
from dreamjax.training.storage import workdir
from dreamjax.training.storage.workdir import UsageError

KINDS: dict[str, Any] = {
    "agent": str, "env": str, "reward": str, "seed": int, "curve": list, "command": str, "hardware": str,
    "wall_s": (int, float),
}  # fmt: skip
Result = dict[str, Any]


class Point(NamedTuple):
    """Lines per game after ``step`` environment steps: mean over ``seeds`` runs, and its standard error."""

    step: int
    mean: float
    stderr: float
    seeds: int


def summary(values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """``{"mean", "stderr", "episodes"}`` of the lines of games; the standard error is 0 for one game."""
    values = [int(value) for value in values]
    stderr = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "stderr": stderr, "episodes": values}


def checked(result: Any, source: object) -> Result:
    """The result, if it has the form.

    Raises:
        UsageError: an entry is missing or of a wrong kind; the message names it and ``source``.
    """
    if not isinstance(result, dict):
        raise UsageError(f"{source}: a result is an object, not {type(result).__name__}")
    for name, kind in KINDS.items():
        if not isinstance(result.get(name), kind):
            raise UsageError(f"{source}: {name}={result.get(name)!r} is not allowed in a result")
    steps = []
    for point in result["curve"]:
        try:
            steps.append(float(point["step"]))
            numbers = [float(point["lines"][name]) for name in ("mean", "stderr")]
        except (KeyError, TypeError, ValueError):
            raise UsageError(f"{source}: {point!r} is no point of a curve") from None
        if not all(map(math.isfinite, numbers)):
            raise UsageError(f"{source}: step {point['step']}: not finite")
    if not steps or any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise UsageError(f"{source}: the steps of a curve must rise, and there must be one")
    return result


def group_name(env: str, reward: str) -> str:
    """Action mode and reward as the beginning of file names."""
    return re.sub(r"[^\w.-]+", "_", f"{env.rpartition('/')[2]}_{reward}")


def file_name(result: Result) -> str:
    """What a result is called among others: its group, agent and seed, without what file names cannot hold."""
    agent = re.sub(r"[^\w.-]+", "_", result["agent"]).strip("_")
    return f"{group_name(result['env'], result['reward'])}_{agent}_{result['seed']}.json"


def write_result(path: Path, result: Result) -> None:
    """Writes a result whole or not at all, a line for each entry and each point."""
    rows = ",\n  ".join(json.dumps(point) for point in result["curve"])
    entries = [
        f"{json.dumps(name)}: " + (f"[\n  {rows}\n ]" if name == "curve" else json.dumps(value))
        for name, value in checked(result, path).items()
    ]
    files.write_text(path, "{\n " + ",\n ".join(entries) + "\n}\n")


def read_result(path: Path) -> Result:
    """The result in a file, or of the run in a work directory.

    Raises:
        UsageError: there is none, or it has another form.
    """
    if path.is_dir():
        return read_run(path)
    try:
        return checked(json.loads(path.read_text()), path)
    except (OSError, json.JSONDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None


def read_run(path: Path) -> Result:
    """The result of a run of `experiments.train`: the evaluations in its `metrics.jsonl`.

    Raises:
        UsageError: the directory holds no run, or one that has not been evaluated yet.
    """
    config = workdir.read_config(path)
    curve: dict[int, dict[str, Any]] = {}
    wall = 0.0
    try:
        for line in read_metrics(path / "metrics.jsonl"):
            wall = max(wall, line.get("wall_time") or 0.0)
            if line.get("eval/lines_mean") is not None:
                lines = {"mean": line["eval/lines_mean"], "stderr": line["eval/lines_stderr"]}
                curve[line["step"]] = {"step": line["step"], "lines": lines | {"episodes": config.eval.episodes}}
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{path / 'metrics.jsonl'} cannot be read: {error!r}") from None
    if not curve:
        raise UsageError(f"{path} holds no evaluation of lines yet")
    result = {
        "agent": f"dreamer ({config.model.kind})",
        "env": f"{config.env.id}/{config.env.action_mode}",
        "reward": reward_name(config.env.kwargs),
        "seed": config.seed,
        "curve": [curve[step] for step in sorted(curve)],
        "command": "python -m experiments.train, with these settings",
        "hardware": "not recorded",
        "wall_s": wall,
        "settings": to_dict(config),
    }
    return checked(result, path)


def reward_name(fields: Mapping[str, Any]) -> str:
    """The name in ``REWARDS`` of an environment's fields, or the fields that pay, written out."""
    paying = {
        name: value
        for name, value in fields.items()
        if name in ("reward", "piece_reward", "death_penalty") or name.startswith("shaping")
    }
    paying.setdefault("reward", "lines")
    for name, known in REWARDS.items():
        if paying == known:
            return name
    return " ".join(f"{name}={paying[name]}" for name in sorted(paying))


def mean_curve(results: Iterable[Result]) -> list[Point]:
    """Runs of one agent that differ in their seed as one curve, by rising step.

    A point is the mean of the runs that have this step. Its standard error is that over these runs, or, where there is
    one run, the one over its games.
    """
    by_step: dict[int, list[dict[str, Any]]] = {}
    for result in results:
        for point in result["curve"]:
            by_step.setdefault(point["step"], []).append(point["lines"])
    points = []
    for step, entries in sorted(by_step.items()):
        means = [entry["mean"] for entry in entries]
        stderr = entries[0]["stderr"]
        if len(means) > 1:
            stderr = float(np.std(means, ddof=1)) / math.sqrt(len(means))
        points.append(Point(step, float(np.mean(means)), stderr, len(means)))
    return points


def grouped(results: Iterable[Result]) -> dict[tuple[str, str], dict[str, list[Result]]]:
    """Results by environment and reward, in these by agent. Of two of one seed the one that goes further counts."""
    chosen: dict[tuple[str, str, str, int], Result] = {}
    for result in results:
        key = (result["env"], result["reward"], result["agent"], result["seed"])
        if key not in chosen or result["curve"][-1]["step"] > chosen[key]["curve"][-1]["step"]:
            chosen[key] = result
    groups: dict[tuple[str, str], dict[str, list[Result]]] = {}
    for (env, reward, agent, _), result in sorted(chosen.items()):
        groups.setdefault((env, reward), {}).setdefault(agent, []).append(result)
    return groups


def table(group: Mapping[str, Sequence[Result]]) -> str:
    """Mean and standard error by agent and step, as text, one line for each point."""
    lines = []
    width = max(16, *map(len, group))
    for agent, results in group.items():
        for point in mean_curve(results):
            when = f"{point.step:>9,} steps" if point.step else "no learning"
            runs = f"{point.seeds} seed" + "s" * (point.seeds > 1)
            lines.append(f"{agent:<{width}} {when:<16} {point.mean:9.2f} ± {point.stderr:<7.2f} {runs}")
    return "\n".join(lines)


def draw(group: Mapping[str, Sequence[Result]], path: Path, title: str) -> None:
    """Draws lines per game against environment steps, mean and standard error over seeds, as PNG."""
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    figure = Figure(figsize=(7.0, 5.2), layout="constrained")
    axes = figure.subplots()
    for i, (agent, results) in enumerate(group.items()):
        points, color = mean_curve(results), f"C{i % 10}"
        steps, mean, stderr, seeds = (np.array(column, float) for column in zip(*points, strict=True))
        num_seeds = int(seeds.max())
        label = f"{agent} ({num_seeds} seed{'s' * (num_seeds > 1)})"
        if not steps.any():
            axes.axhline(mean[0], color=color, linestyle="--", linewidth=1, label=f"{agent}: {mean[0]:.2f}")
            continue
        axes.plot(steps, mean, color=color, marker="o", markersize=3, label=label)
        axes.fill_between(steps, mean - stderr, mean + stderr, color=color, alpha=0.2, linewidth=0)
    axes.set(xscale="log", xlabel="environment steps", ylabel="lines per game", title=title)
    # Linear up to one line, so that zero and hundreds fit one axis.
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside lower center", ncols=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format="png")
