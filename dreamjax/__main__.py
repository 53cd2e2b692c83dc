"""The console command ``dreamjax COMMAND ...``, also ``python -m dreamjax COMMAND ...``."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

import dreamjax
from dreamjax.commands import ALIASES, COMMANDS


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the first argument names; returns its exit code."""
    name, *rest = [*(sys.argv[1:] if arguments is None else arguments)] or ["--help"]
    if name in ("-h", "--help", "help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"dreamjax {dreamjax.__version__}")
        return 0
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # so that module:Id-v0 finds a module here, as under python -m
    name = ALIASES.get(name, name)
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else "`dreamjax --help` lists the commands"
        print(f"error: there is no command {name}: {hint}", file=sys.stderr)
        return 2
    return importlib.import_module(f"dreamjax.commands.{name.replace('-', '_')}").main(rest)


def usage() -> str:
    """The commands with a line each."""
    lines = [f"  {name:<10} {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: dreamjax COMMAND [arguments]",
            "",
            "Trains Dreamer world-model agents in JAX and Flax.",
            "",
            *lines,
            "",
            "`dreamjax COMMAND --help` describes the arguments of a command; `dreamjax --version` prints the version.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
