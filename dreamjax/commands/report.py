"""Writes report.html of a run: curves, a dream, the world model's accuracy, the configuration, in one file.

    dreamjax report --workdir=runs/tetris_direct

Training writes the same report at its end. `dreamjax dream` draws a new dream for it.

Exit codes: 0 written, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dreamjax.commands import cli
from dreamjax.training.storage import workdir


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser("dreamjax report", __doc__)
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR", help="work directory of a run")
    known = parser.parse_args(arguments)
    if workdir.resolve(known.workdir) != known.workdir:
        raise workdir.UsageError(f"{known.workdir} comes with the package, which has no metrics of its run")
    config = workdir.read_config(known.workdir)
    from dreamjax.reporting.report import write_report

    try:
        print(f"wrote {write_report(known.workdir, config)}")
    except OSError as error:
        return cli.fail(f"{known.workdir} cannot be written: {error}")
    return cli.OK
