"""Lists the fields of a configuration, or prints what a run would use.

    dreamjax config                                    # every field: meaning, unit, allowed values, default; variants
    dreamjax config lr 'replay.*'                      # fields whose names contain lr, or match the pattern
    dreamjax config --config=tetris_direct:smoke       # the values of a run; * marks those that are not the defaults
    dreamjax config --config=cartpole --config.seed=1 --changed=true

Any field can be set as --config.FIELD=VALUE by the commands that take --config.
"""

from __future__ import annotations

import fnmatch
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from dreamjax.commands import cli
from dreamjax.config import Config, presets
from dreamjax.config.schema import Field, Options, fields, is_group
from dreamjax.training.storage.workdir import UsageError

WIDTH = 100


class Entry(NamedTuple):
    """A field with its dotted name, and the group it belongs to."""

    name: str
    field: Field
    group: type[Options]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser("dreamjax config", __doc__)
    parser.add_argument("patterns", nargs="*", metavar="NAME", help="part of a field's name, or a pattern with * and ?")
    parser.add_argument("--config", metavar="NAME[:variant]", help="print the values of this configuration")
    parser.add_argument(
        "--changed", type=cli.boolean, default=False, help="print only values that are not the defaults"
    )
    known, rest = parser.parse_known_args(arguments)
    overrides = cli.split_overrides(rest)
    found = [entry for entry in entries() if matches(entry.name, known.patterns)]
    if not found:
        raise UsageError(f"no field matches {' or '.join(known.patterns)}; `dreamjax config` lists all of them")
    if known.config is None:
        if overrides or known.changed:
            raise UsageError("--config.FIELD=VALUE and --changed need --config=NAME[:variant]")
        print("\n".join(describe(found)))
        if not known.patterns:
            print("\n".join(["", *describe_variants()]))
    else:
        print("\n".join(show(cli.load_config(known.config, overrides), found, changed_only=known.changed)))
    return cli.OK


def entries(group: type[Options] = Config, path: str = "") -> Iterator[Entry]:
    """All fields, those of the whole run first, then group by group."""
    for field in fields(group):
        if is_group(field.hint):
            yield from entries(field.hint, f"{path}{field.name}.")
        else:
            yield Entry(path + field.name, field, group)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a dotted name contains one of the patterns or matches one with * and ?; all names match none at all."""
    return not patterns or any(pattern in name or fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def describe(found: Sequence[Entry]) -> Iterator[str]:
    """Lines that describe fields: name, default and unit, then the allowed values and the meaning."""
    group: type[Options] | None = None
    for entry in found:
        if entry.group is not group:
            if group is not None:
                yield ""
            group = entry.group
            yield (group.__doc__ or "").partition("\n")[0]
        option = entry.field.option
        assert option is not None
        unit = f" [{option.unit}]" if option.unit else ""
        yield f"  {entry.name} = {text_of(entry.field.default)}{unit}"
        for words in (entry.field.allowed, option.meaning):
            yield from textwrap.wrap(words, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)


def describe_variants() -> Iterator[str]:
    """Lines that name the variants of every configuration."""
    yield "Variants of every configuration, as --config=NAME:variant, joined by commas"
    yield from textwrap.wrap(", ".join(presets.named()), WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)


def show(config: Config, found: Sequence[Entry], *, changed_only: bool) -> Iterator[str]:
    """Lines with the value of each field in ``config``; * and the default where it is not the default."""
    for entry in found:
        value: Any = config
        for part in entry.name.split("."):
            value = getattr(value, part)
        default = entry.field.default
        if value != default:
            yield f"* {entry.name} = {text_of(value)}  (default: {text_of(default)})"
        elif not changed_only:
            yield f"  {entry.name} = {text_of(value)}"


def text_of(value: Any) -> str:
    """A value as --config.FIELD=VALUE takes it."""
    if isinstance(value, tuple):
        return ",".join(map(text_of, value)) or "()"
    if isinstance(value, Mapping):
        return repr(dict(value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value) or "''"
