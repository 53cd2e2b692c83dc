"""All mutants, read from the data files beside this one."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import NamedTuple

from tests.mutants import Mutant

FOLDER = Path(__file__).parent


class Entry(NamedTuple):
    """A mutant with the dotted name of the module or package that it changes and the tests that must fail."""

    mutant: Mutant
    module: str
    tests: tuple[str, ...]


def load() -> list[Entry]:
    """The mutants of every data file.

    Raises:
        ValueError: if two have one name.
    """
    entries = []
    for path in sorted(FOLDER.rglob("[!_]*.py")):
        parts = path.relative_to(FOLDER).with_suffix("").parts
        data = importlib.import_module(".".join(("tests.mutants", *parts)))
        module = ".".join(parts if parts[0] == "experiments" else ("dreamjax", *parts))
        entries += [Entry(mutant, module, _tests(mutant, data.TESTS)) for mutant in data.MUTANTS]
    names = [entry.mutant.name for entry in entries]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"several mutants are called {', '.join(sorted(twice))}")
    return entries


def _tests(mutant: Mutant, default: str) -> tuple[str, ...]:
    if mutant.tests.startswith("::"):
        return (default + mutant.tests,)
    return tuple((mutant.tests or default).split())
