"""The parts of the site that come from the code: fields, commands, and docstrings as lists.

Importing this module does not import JAX.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
from collections.abc import Callable
from unittest import mock

from dreamjax.commands import COMMANDS
from dreamjax.commands import config as config_command

MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.M)
ENTRY = re.compile(r"(?<=[.;]) +(?=[a-z_]+(?:, [a-z_]+)*: )")
NAMED = ("Args:", "Attributes:", "Raises:")
SECTIONS = (*NAMED, "Returns:")


def fill(page: str) -> str:
    """A page with its marks ``<!-- generated: NAME -->`` replaced by what they name."""
    return MARK.sub(lambda match: GENERATED[match[1]](), page)


def fields() -> str:
    """All fields: a section for each group, and a table of name, default, allowed values and meaning."""
    lines: list[str] = []
    group = None
    for entry in config_command.entries():
        if entry.group is not group:
            group = entry.group
            prefix = entry.name.rpartition(".")[0]
            lines += ["", f"## `{prefix}`" if prefix else "## The whole run", ""]
            lines += [line.strip() for line in (group.__doc__ or "").splitlines()]
            lines += ["", "| field | default | allowed | meaning |", "|---|---|---|---|"]
        option = entry.field.option
        assert option is not None
        unit = f" {option.unit}" if option.unit else ""
        default = f"`{config_command.text_of(entry.field.default)}`{unit}"
        cells = (f"`{entry.name}`", default, entry.field.allowed, option.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def commands() -> str:
    """The help of every command."""
    return "\n\n".join(f"## {name}\n\n```text\n{help_of(name)}\n```" for name in COMMANDS)


def help_of(command: str) -> str:
    """What ``dreamjax COMMAND --help`` prints, 100 columns wide."""
    module = importlib.import_module(f"dreamjax.commands.{command.replace('-', '_')}")
    out = io.StringIO()
    width = mock.patch.dict("os.environ", COLUMNS="100", NO_COLOR="1")
    with width, contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        module.main(["--help"])
    return out.getvalue().strip()


GENERATED: dict[str, Callable[[], str]] = {"fields": fields, "commands": commands}


def as_lists(lines: list[str]) -> list[str]:
    """A docstring whose sections (``Args:``, ``Returns:``, ...) are lists in reStructuredText, an entry for each name.

    The project writes short entries side by side on a line, and several names before one colon.
    """
    found: list[str] = []
    section, inside = "", 0  # the section's title, and the indentation of its entries
    for line in lines:
        indent, words = len(line) - len(line.lstrip()), line.strip()
        if words in SECTIONS:
            section, inside = words, indent + 4
            found += ["", " " * indent + f"**{words}**", ""]
        elif not section or not words:
            found.append(line)
        elif indent < inside:
            section = ""
            found += ["", line]
        elif section in NAMED and indent == inside:
            outer = " " * (inside - 4)
            found += [f"{outer}* ``{name}``: {text}" for name, text in map(_entry, ENTRY.split(words))]
        elif section in NAMED:
            found.append(" " * (inside - 2) + words)
        else:
            found.append(line[4:])
    return found


def _entry(words: str) -> tuple[str, str]:
    name, _, text = words.partition(": ")
    return name, text
