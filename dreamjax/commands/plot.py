"""Plots a metric of several runs over environment steps, as a PNG file.

    dreamjax plot runs/a_0 runs/a_1 runs/b_0 runs/b_1
    dreamjax plot runs/* --metric=train/world_model_loss --out=loss.png

Runs that differ in nothing but their seed are one curve, where all of them have values: their mean, with a band from the
least run to the greatest, or (--band=error) of a standard error up and down.

Exit codes: 0 done, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from dreamjax.commands import cli
from dreamjax.training.storage import workdir

METRIC = "eval/return_mean"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser("dreamjax plot", __doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="DIR", help="work directories of runs")
    parser.add_argument("--metric", default=METRIC, metavar="NAME", help=f"metric of metrics.jsonl (default: {METRIC})")
    parser.add_argument("--out", type=Path, default=Path("plot.png"), metavar="FILE", help="default: plot.png")
    parser.add_argument(
        "--band", choices=("range", "error"), default="range", help="least to greatest run, or a standard error"
    )
    known = parser.parse_args(arguments)
    from dreamjax.reporting.curves import Panel, mean_band, mean_curve, plot_groups, read_curves

    panel = Panel("", known.metric)
    groups = {}
    # `runs/*` may match files beside the runs.
    for name, runs in group(run for run in known.runs if not run.is_file()).items():
        files = [run / "metrics.jsonl" for run in runs]
        found = [read_curves(file, [panel]) for file in files if file.is_file()]
        curves = [one[known.metric] for one in found if one]
        if len(curves) < len(runs):
            print(f"{name}: {len(runs) - len(curves)} of {len(runs)} runs have no {known.metric}")
        if curves:
            groups[name] = curves
    if not groups:
        raise workdir.UsageError(f"no run has logged {known.metric}: see the names in metrics.jsonl")
    try:
        plot_groups(groups, known.metric, known.out, known.band)
    except OSError as error:
        return cli.fail(f"{known.out} cannot be written: {error}")
    for name, curves in groups.items():
        mean = mean_curve(curves)
        if len(mean.step):
            band = mean_band(curves)
            spread = f" ± {mean.error[-1]:.4g} ({band.low[-1]:.4g} to {band.high[-1]:.4g})" if len(curves) > 1 else ""
            print(f"{name}: {mean.value[-1]:.4g}{spread} at step {mean.step[-1]:,.0f}, {len(curves)} runs")
    print(f"wrote {known.out}")
    return cli.OK


def group(runs: Iterable[Path]) -> dict[str, list[Path]]:
    """Runs by name; those whose configurations differ in nothing but the seed share one.

    Raises:
        UsageError: a directory holds no run.
    """
    by_config: dict[object, list[Path]] = {}
    for run in runs:
        config = workdir.read_config(run)
        by_config.setdefault(repr(dataclasses.replace(config, seed=0)), []).append(run)
    names = {}
    for alike in by_config.values():
        common = os.path.commonprefix([run.name for run in alike]).rstrip("_-.")  # noqa: RUF071 - of names, not paths
        name = common if common and len(alike) > 1 else alike[0].name
        while name in names:
            name += "'"
        names[name] = alike
    return names
