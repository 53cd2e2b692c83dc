"""Compares scores of runs with published ones, and writes them in the same form.

    dreamjax scores runs/pong_0 runs/pong_1 runs/pong_2 --action-repeat=4 --json=pong.json.gz
    dreamjax scores pong.json.gz atari100k-dreamerv3.json.gz --png=pong.png
    dreamjax scores *.json.gz --normalize=human.json --task='atari_*'

Each argument is a run's work directory or a score file: a JSON list, also in gzip, of runs with task, method, seed, xs
(frames) and ys (returns), the form of the folder `scores` of github.com/danijar/dreamerv3.

The table has, for each task and method, the mean and the range over seeds of the scores at the budget that all of the
task's runs have reached, or at --frames. A run's score there is the mean of its values in the last tenth before. Below
stands the interquartile mean over the tasks that all methods have, with a stratified bootstrap interval of 95 %, as
rliable computes them.

Exit codes: 0 done, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

import fnmatch
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dreamjax.commands import cli
from dreamjax.training.storage import workdir
from dreamjax.training.storage.workdir import UsageError

if TYPE_CHECKING:
    from dreamjax.reporting.scores import Score

METRIC = "episode/return"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _parser() -> cli.Parser:
    parser = cli.Parser("dreamjax scores", __doc__)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="work directories and score files")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the runs of work directories (.json, .json.gz)"
    )
    parser.add_argument("--png", type=Path, metavar="FILE", help="plot everything, a panel for each task")
    parser.add_argument("--task", metavar="PATTERN", help="only these tasks; * and ? stand for any characters")
    parser.add_argument(
        "--method", default="dreamjax", metavar="NAME", help="of the work directories (default: dreamjax)"
    )
    parser.add_argument("--task-name", metavar="NAME", help="of the work directories (default: by env.id)")
    parser.add_argument("--metric", default=METRIC, metavar="NAME", help=f"metric of a score (default: {METRIC})")
    parser.add_argument(
        "--action-repeat",
        type=int,
        default=1,
        metavar="N",
        help="frames of a step in the work directories (default: 1)",
    )
    parser.add_argument(
        "--frames", type=float, metavar="N", help="budget (default: what all runs of a task have reached)"
    )
    parser.add_argument(
        "--normalize", type=Path, metavar="FILE", help='JSON {"task": [LOW, HIGH]}: they count as 0 and 1'
    )
    parser.add_argument("--resamples", type=int, default=2000, metavar="N", help="of the bootstrap (default: 2000)")
    return parser


def _main(arguments: Sequence[str] | None) -> int:
    known = _parser().parse_args(arguments)
    cli.require_at_least(known, resamples=1, frames=1)
    if known.action_repeat < 1:
        raise UsageError(f"--action-repeat={known.action_repeat} is not allowed: must be 1 or more")
    from dreamjax.reporting import scores as form

    ours, theirs = [], []
    for path in known.paths:
        if path.is_file():
            try:
                theirs += form.read_scores(path)
            except (OSError, ValueError) as error:
                raise UsageError(str(error)) from None
        else:
            ours.append(read_run(path, known.metric, known.method, known.task_name, known.action_repeat))
    found = [score for score in [*ours, *theirs] if known.task is None or fnmatch.fnmatchcase(score.task, known.task)]
    refuse_duplicates(ours)
    tasks = form.grouped(found)
    if not tasks:
        raise UsageError("no score is left" + (f" of --task={known.task}" if known.task else ""))
    bounds = read_bounds(known.normalize, list(tasks)) if known.normalize else None
    if known.json and not ours:
        raise UsageError("--json needs work directories: it writes their scores")
    at = {task: known.frames or form.common_budget(methods) for task, methods in tasks.items()}
    results = {
        task: {method: [form.score_at(run, at[task]) for run in runs] for method, runs in methods.items()}
        for task, methods in tasks.items()
    }
    print("\n".join(table(results, at)))
    print("\n".join(summary(results, bounds, known.resamples)))
    try:
        if known.json:
            form.write_scores(known.json, [score for score in ours if len(score.xs)])
            print(f"wrote {known.json}")
        if known.png:
            form.plot_scores(found, known.png)
            print(f"wrote {known.png}")
    except OSError as error:
        return cli.fail(f"{error.filename or known.json or known.png} cannot be written: {error}")
    return cli.OK


def read_run(path: Path, metric: str, method: str, task: str | None, action_repeat: int) -> Score:
    """The score of a work directory.

    Raises:
        UsageError: it holds no run, or the run has not logged the metric.
    """
    from dreamjax.reporting.metrics import read_metrics
    from dreamjax.reporting.scores import Score, task_name

    config = workdir.read_config(path)
    file = path / "metrics.jsonl"
    lines = list(read_metrics(file)) if file.is_file() else []
    points = [(line["step"] * action_repeat, line[metric]) for line in lines if line.get(metric) is not None]
    if not points:
        raise UsageError(f"{path} has not logged {metric}: see the names in metrics.jsonl")
    xs, ys = np.array(points, float).T
    return Score(task or task_name(config.env.id), method, config.seed, xs, ys)


def refuse_duplicates(ours: Sequence[Score]) -> None:
    """Raises UsageError where two runs would be the same seed of the same task and method."""
    seen = set()
    for score in ours:
        key = score[:3]
        if key in seen:
            raise UsageError(
                f"two runs are seed {score.seed} of {score.task}: give other configurations another --method, "
                "each written by --json"
            )
        seen.add(key)


def read_bounds(path: Path, tasks: Sequence[str]) -> dict[str, tuple[float, float]]:
    """The scores that count as 0 and as 1, by task.

    Raises:
        UsageError: the file cannot be read, or has no two different numbers for one of the tasks.
    """
    try:
        given = json.loads(path.read_text())
        found = {task: (float(given[task][0]), float(given[task][1])) for task in tasks}
    except KeyError as error:
        raise UsageError(f"--normalize={path} has no entry for {error.args[0]}") from None
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise UsageError(f"--normalize={path} cannot be read as {{task: [LOW, HIGH]}}: {error}") from None
    for task, (low, high) in found.items():
        if low == high:
            raise UsageError(f"--normalize={path}: {task} has twice {low:g}, must be two different numbers")
    return found


def table(results: Mapping[str, Mapping[str, Sequence[float]]], at: Mapping[str, float]) -> list[str]:
    """Lines with each task and method: frames, seeds, mean, least and greatest score."""
    wide = max(len("task"), *map(len, results))
    wider = max(len("method"), *(len(method) for methods in results.values() for method in methods))
    lines = [
        f"{'task':<{wide}}  {'method':<{wider}} {'frames':>12} {'seeds':>6} {'mean':>10} {'least':>10} {'most':>10}"
    ]
    for task, methods in results.items():
        for method, values in methods.items():
            kept = [value for value in values if not math.isnan(value)]
            numbers = [sum(kept) / len(kept), min(kept), max(kept)] if kept else [math.nan] * 3
            shown = " ".join(f"{number:10.4g}" for number in numbers)
            lines.append(f"{task:<{wide}}  {method:<{wider}} {at[task]:12,.0f} {len(kept):6d} {shown}")
    return lines


def summary(
    results: Mapping[str, Mapping[str, Sequence[float]]],
    bounds: Mapping[str, tuple[float, float]] | None,
    resamples: int,
) -> list[str]:
    """Lines with each method's interquartile mean over the tasks that all methods have, and its interval."""
    from dreamjax.reporting.interquartile import bootstrap_interval, interquartile_mean

    names = list(dict.fromkeys(method for methods in results.values() for method in methods))
    common = [task for task, methods in results.items() if set(methods) == set(names)]
    if not common:
        return ["", "no task is common to all methods: no interquartile mean"]
    how = "normalized" if bounds else "not normalized"
    lines = ["", f"interquartile mean over {len(common)} of {len(results)} tasks, scores {how}"]
    for method in names:
        strata = []
        for task in common:
            low, high = bounds[task] if bounds else (0.0, 1.0)
            values = np.array([value for value in results[task][method] if not math.isnan(value)])
            strata.append((values - low) / (high - low))
        strata = [runs for runs in strata if len(runs)]
        if not strata:
            lines.append(f"{method}: no run has a value so early")
            continue
        mean = float(interquartile_mean(np.concatenate(strata)))
        interval = bootstrap_interval(strata, resamples=resamples)
        said = (
            f"95 % interval {interval[0]:.4g} to {interval[1]:.4g}" if interval else "no interval: one run of each task"
        )
        uneven = "" if len({len(runs) for runs in strata}) == 1 else "; tasks with more runs weigh more"
        lines.append(f"{method}: {mean:.4g}, {said}, {sum(map(len, strata))} runs{uneven}")
    return lines
