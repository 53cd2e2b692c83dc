"""``report.html``: what a run did, in one file that needs nothing else."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from dreamjax import files
from dreamjax.config import Config, defaults, to_dict
from dreamjax.reporting.curves import panel_svg, read_curves, shown_panels
from dreamjax.reporting.metrics import read_metrics

LOG = logging.getLogger(__name__)
REPORT = "report.html"
DREAM = re.compile(r"dream/(.+)/(cells_right|boards_right|mse)")
MEASURES = {
    "boards_right": "grids that are right in every cell",
    "cells_right": "cells that are right",
    "mse": "mean squared error of a number",
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; }
body { max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid #ddd; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 1rem; }
.wide { overflow-x: auto; } img { max-width: 100%; } .wide img { max-width: none; } .pixels { image-rendering: pixelated; }
pre { background: #f4f4f6; padding: .8rem; overflow-x: auto; } .note { color: #666; }
"""


def write_report(path: str | Path, config: Config, *, shown_as: str | Path | None = None) -> Path:
    """Writes ``report.html`` into a work directory, from its metrics and pictures; returns its path.

    Args:
        path: the work directory. config: of the run. shown_as: the directory as the commands in the report name it.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    metrics = path / "metrics.jsonl"
    records = list(read_metrics(metrics)) if metrics.is_file() else []
    sections = [
        _summary(config, records),
        _curves(metrics if records else None),
        _dream(path / "media", records),
        _accuracy(records),
        _changed(config),
        _next(config, Path(shown_as or path)),
    ]
    title = f"{escape(path.name)}: {escape(config.env.id)}"
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    page = f"<!doctype html>\n<html lang=en><head>{head}<title>{title}</title><style>{STYLE}</style></head>\n<body>\n"
    page += f"<h1>{title}</h1>\n" + "\n".join(sections) + "\n</body></html>\n"
    files.write_text(path / REPORT, page)
    return path / REPORT


def leave_report(path: Path, config: Config) -> None:
    """Writes the report of a run that has ended, and logs its path and what to do next; a full disk is only logged."""
    here = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    try:
        write_report(path, config, shown_as=here)
    except OSError as error:
        LOG.info(f"{here / REPORT} cannot be written: {error}")
        return
    LOG.info(f"report: {here / REPORT}")
    LOG.info(f"next: {next_commands(config, here)[0]}")


def _summary(config: Config, records: list[dict[str, Any]]) -> str:
    if not records:
        return "<p>Nothing has been logged yet.</p>"
    last = records[-1]
    rows = {
        "environment steps": f"{last['step']:,} of {config.total_steps:,}",
        "updates": f"{last['update']:,}",
        "running time": f"{last['wall_time'] / 60:,.1f} minutes",
        "seed": str(config.seed),
    }
    evaluated = [record for record in records if record.get("eval/return_mean") is not None]
    if evaluated:
        rows["last evaluation"] = _evaluation(evaluated[-1])
        rows["best evaluation"] = _evaluation(max(evaluated, key=lambda record: record["eval/return_mean"]))
    return _table((escape(name), escape(value)) for name, value in rows.items())


def _evaluation(record: Mapping[str, Any]) -> str:
    names = [name.removeprefix("eval/").removesuffix("_mean") for name in record if re.fullmatch("eval/.*_mean", name)]
    values = [f"{name} {record[f'eval/{name}_mean']:.4g} ± {record[f'eval/{name}_stderr']:.2g}" for name in names]
    return f"{', '.join(values)} (mean ± standard error, at step {record['step']:,})"


def _curves(metrics: Path | None) -> str:
    curves = read_curves(metrics) if metrics else {}
    if not curves:
        return ""
    pictures = [
        f'<img alt="{escape(panel.title)}" src="{_data(panel_svg(panel, curves), "svg+xml")}">'
        for panel in shown_panels(curves)
    ]
    note = "Line: episodes and updates since the point before, pale; their moving average, strong. Dots: evaluations."
    return f"<h2>Curves</h2>\n<p class=note>{note}</p>\n<div class=panels>{''.join(pictures)}</div>"


def _dream(media: Path, records: list[dict[str, Any]]) -> str:
    """The pictures of ``dream_report``, and what each of their rows shows."""
    moving, strip = media / "dream.gif", media / "dream.png"
    entries = list(dict.fromkeys(match[1] for match in map(DREAM.match, _latest(records, "dream/")) if match))
    if not (moving.is_file() and strip.is_file() and entries):
        return "<h2>Dream</h2>\n<p>No picture of a dream yet: <code>dreamjax dream</code> draws one.</p>"
    names = ", ".join(f"<code>{escape(name)}</code>" for name in entries)
    text = (
        "The world model sees the first steps of a window (gray border) and dreams the rest from the actions alone (violet "
        f"border). For each entry of the observation ({names}) there are three pictures: what happened, what was dreamed, "
        "and the difference. In a difference, blue was only in what happened and orange only in the dream; of images it is "
        "the absolute difference. Dark: the episode has ended. What is random in the environment is random in the dream "
        "too, so the two part where chance decides (in Tetris: which piece comes next)."
    )
    return (
        f"<h2>Dream</h2>\n<p>{text}</p>\n"
        f"<p>One window, time from left to right.</p>\n"
        f'<div class=wide><img class=pixels alt="a dream, step by step" src="{_data(strip.read_bytes(), "png")}"></div>\n'
        f"<p>Windows one below the other, in motion; from left: what happened, the dream, the difference.</p>\n"
        f'<div class=wide><img class=pixels alt="dreams in motion" src="{_data(moving.read_bytes(), "gif")}"></div>'
    )


def _accuracy(records: list[dict[str, Any]]) -> str:
    values = _latest(records, "dream/")
    rows = []
    for name in values:
        match = DREAM.fullmatch(name)
        if match is None:
            continue
        entry, measure = match.groups()
        numbers = [values.get(name + suffix) for suffix in ("", "_unchanged", "_open_loop")]
        percent = measure != "mse"
        texts = ["" if x is None else f"{100 * x:.2f} %" if percent else f"{x:.4g}" for x in numbers]
        rows.append((f"<code>{escape(entry)}</code>: {MEASURES[measure]}", *texts))
    if not rows:
        return ""
    head = ("", "one step ahead", "if nothing changed", "dreamed after the first steps")
    note = (
        "On replayed windows, as of the last picture. <code>dreamjax evaluate --world-model</code> plays new episodes."
    )
    return f"<h2>Accuracy of the world model</h2>\n<p class=note>{note}</p>\n<div class=wide>{_table(rows, head)}</div>"


def _changed(config: Config) -> str:
    ours, standard = _flat(to_dict(config)), _flat(defaults())
    rows = [
        (f"<code>{escape(name)}</code>", escape(str(value)), escape(str(standard.get(name, "unset"))))
        for name, value in ours.items()
        if value != standard.get(name)
    ]
    note = "Fields that are not the defaults; <code>config.json</code> has all."
    table = _table(rows, ("field", "value", "default"))
    return f"<h2>Configuration</h2>\n<p class=note>{note}</p>\n<div class=wide>{table}</div>"


def next_commands(config: Config, path: Path) -> list[str]:
    """What to do with a run next."""
    commands = [f"dreamjax evaluate --workdir={path} --episodes=100", f"dreamjax dream --workdir={path}"]
    if config.env.id.startswith("dreamjax/Tetris"):
        commands.insert(0, f"dreamjax play --workdir={path}")
    return commands


def _next(config: Config, path: Path) -> str:
    return f"<h2>Next</h2>\n<pre>{escape(chr(10).join(next_commands(config, path)))}</pre>"


def _latest(records: list[dict[str, Any]], prefix: str) -> dict[str, float | None]:
    """The metrics that begin so, of the last line that has any."""
    for record in reversed(records):
        if found := {name: value for name, value in record.items() if name.startswith(prefix)}:
            return found
    return {}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in values.items():
        result |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {prefix + name: value}
    return result


def _table(rows: Iterable[tuple[str, ...]], head: tuple[str, ...] = ()) -> str:
    def cells(row: tuple[str, ...]) -> str:
        return "".join(f"<td>{cell}</td>" for cell in row)

    titles = "".join(f"<th>{title}</th>" for title in head)
    lines = [f"<tr>{cells(row)}</tr>" for row in rows]
    return "<table>" + (f"<tr>{titles}</tr>" if head else "") + "\n".join(lines) + "</table>"


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
