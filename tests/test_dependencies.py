"""Declared dependencies are those that are imported, and imported ones are declared."""

from __future__ import annotations

import ast
import re
import sys
import tomllib

from tests.helpers import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = {"orbax-checkpoint": "orbax", "pillow": "PIL", "stable-baselines3": "stable_baselines3", "absl-py": "absl"}
# What is imported under another distribution's requirement: torch is a dependency of stable-baselines3.
BROUGHT = {"torch"}
# Looked for, and used where it is installed; `jaxlib` is named to pin it beside `jax`.
OPTIONAL, NOT_IMPORTED = {"jumanji", "tetris_gymnasium"}, {"jaxlib"}
# Tools of their own process or of the command line.
TOOLS = {"mypy", "pytest_timeout", "pytest_xdist", "ruff"}
# Runs in an environment of its own.
APART = {"experiments/benchmarks/peer_sheeprl.py"}


def imported(folder: str) -> set[str]:
    """Top-level modules of others that the files of a folder import, inside of functions too."""
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        if path.relative_to(ROOT).as_posix() in APART:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).split(".")[0])
    return found - set(sys.stdlib_module_names) - {"dreamjax", "experiments", "tests"}


def declared(requirements: list[str]) -> set[str]:
    names = [re.split(r"[\[<>=; ]", want)[0] for want in requirements]
    return {MODULES.get(name, name.replace("-", "_")) for name in names}


def test_the_package_imports_what_it_declares():
    assert imported("dreamjax") == declared(PROJECT["dependencies"]) - NOT_IMPORTED


def test_experiments_import_what_is_declared():
    extra = declared(PROJECT["optional-dependencies"]["baselines"])
    assert imported("experiments") - OPTIONAL - BROUGHT <= declared(PROJECT["dependencies"]) | extra
    assert extra <= imported("experiments")


def test_tests_import_the_tools_that_are_declared():
    assert declared(PROJECT["optional-dependencies"]["dev"]) - TOOLS <= imported("tests")
