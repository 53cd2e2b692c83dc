"""Prints how the spaces of an environment are read, and what is wrong with the environment.

    dreamjax check-env --env=module:Id-v0 [--steps=1000] [--seed=0] [--kwargs='{"size": 8}']
    dreamjax check-env --env=module:Id-v0 --config.env.ignore=mission --config.env.layout=channels_last

--kwargs is a JSON object or a Python dictionary, as --config.env.kwargs; --config.env.FIELD=VALUE sets any field of env.
It plays random actions. Problems would spoil training, or training would refuse them: rewards that are no numbers, NaN
or infinity, observations outside of their space, shapes that change, a time limit reported as termination, an episode's
end without its observation, seeds that do not reproduce episodes, exceptions. Warnings name what may be a problem.

Exit codes: 0 no problem, 1 problems found, 2 wrong usage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import rich.console
import rich.table
from rich.markup import escape

from dreamjax.commands import cli
from dreamjax.commands.env_checks import Findings, check
from dreamjax.config import EnvConfig, from_dict
from dreamjax.config.overrides import literal, override
from dreamjax.envs.action_codec import ActionCodec
from dreamjax.envs.checks import EnvError, leaves, path_name
from dreamjax.envs.obs_codec import ObsCodec
from dreamjax.envs.single import LOG
from dreamjax.training.storage.workdir import UsageError
from dreamjax.types import MASK_KEY


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser("dreamjax check-env", __doc__)
    parser.add_argument(
        "--env", required=True, metavar="ID", help="a Gymnasium id; module:Id-v0 imports the module first"
    )
    parser.add_argument("--steps", type=int, default=1000, help="steps to play (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of environment and actions (default: 0)")
    parser.add_argument(
        "--kwargs", default="{}", metavar="JSON", help="keyword arguments of the environment (default: {})"
    )
    known, rest = parser.parse_known_args(arguments)
    cli.require_at_least(known, steps=1, seed=0)
    kwargs = literal(known.kwargs)
    if not isinstance(kwargs, dict):
        raise UsageError(f"--kwargs={known.kwargs} is not allowed: must be a JSON object or a Python dictionary")
    config = _env_config(known.env, kwargs, cli.split_overrides(rest))
    try:
        findings, episodes = check(config, steps=known.steps, seed=known.seed)
    except EnvError as error:
        raise UsageError(f"--env={known.env}: {error}") from error
    return report(config, findings, episodes, known.steps)


def _env_config(name: str, kwargs: dict[str, Any], overrides: dict[str, str]) -> EnvConfig:
    for field in overrides:
        if not field.startswith("env."):
            raise UsageError(f"--config.{field} is not allowed: only fields of env are read")
    return from_dict(override({"env": {"id": name, "kwargs": kwargs}}, overrides)).env


def report(config: EnvConfig, findings: Findings, episodes: int, steps: int) -> int:
    """Prints the mapping and the findings; returns the exit code."""
    console = rich.console.Console()
    try:
        for table in tables(config, findings):
            console.print(table)
    except EnvError as error:
        if "records" not in findings.problems:  # training said so before
            findings.problem("space", str(error))
    for line in findings.program:
        console.print(escape(line), soft_wrap=True)
    for mark, found in (("[bold red]problem[/]", findings.problems), ("[yellow]warning[/]", findings.warnings)):
        for text, count in found.values():
            console.print(f"{mark} {escape(text)}" + (f" ({count} times)" if count > 1 else ""), soft_wrap=True)
    verdict = f"{len(findings.problems)} problems" if findings.problems else "[green]no problem[/]"
    console.print(f"{escape(config.id)}: {verdict} in {steps} random steps, {episodes} episodes")
    return cli.FAILED if findings.problems else cli.OK


def tables(config: EnvConfig, findings: Findings) -> Iterator[rich.table.Table]:
    """What each entry of the two spaces becomes. Raises EnvError on a space without a mapping."""
    if findings.spaces is None:
        return
    observation, action = findings.spaces
    table = rich.table.Table("action", "space", "becomes", title="actions")
    for path, child in leaves(action):
        parts = ActionCodec(child).spec.parts
        sizes = " x ".join(str(part.size) for part in parts)
        table.add_row(*map(escape, (path_name(path, "action"), str(child), f"{parts[0].kind} {sizes}")))
    yield table
    spec = findings.obs
    if spec is None:
        spec = ObsCodec(observation, mask_size=ActionCodec(action).mask_size, config=config).spec
    table = rich.table.Table("entry", "space", "becomes", "shape", "dtype", "classes", title="observations")
    rows = [(path_name(path), str(child)) for path, child in leaves(observation)]
    if MASK_KEY in spec and MASK_KEY not in dict(rows):
        rows.append((MASK_KEY, f"{spec[MASK_KEY].size} entries in info"))
    for name, native in rows:
        entry = spec.get(name)
        cells = (name, native, "logged" if name.startswith(LOG) else "left out", "", "", "")
        if entry is not None:
            cells = (name, native, entry.kind, str(entry.shape), entry.dtype, str(entry.classes or ""))
        table.add_row(*map(escape, cells))
    yield table
