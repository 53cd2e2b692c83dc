"""``python -m tests.mutants [--only NAME] [--jobs N] [--check]``: put faults into the library and see the tests fail.

Each mutant runs in a process of its own, in which one module is compiled from a changed syntax tree; nothing on disk
changes. Prints killed, SURVIVED or BROKEN for each, and exits 1 unless all are killed.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants._catalog import Entry, load
from tests.mutants._syntax import ROOT, mutate

PYTEST = ("-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "no:xdist")


class Importer(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Import one module from a changed tree and everything else as usual."""

    def __init__(self, path: Path, tree: ast.Module) -> None:
        parts = path.relative_to(ROOT).with_suffix("").parts
        super().__init__(".".join(parts[:-1] if parts[-1] == "__init__" else parts), str(path))
        self.tree = tree

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> object:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def get_code(self, fullname: str) -> object:
        return compile(self.tree, self.path, "exec")


def check(entries: Sequence[Entry]) -> list[str]:
    """What keeps mutants from being made: an expression that is not there once, a change that does not compile."""
    problems = []
    for entry in entries:
        try:
            path, tree = mutate(entry.module, entry.mutant)
            compile(tree, path, "exec")
        except (LookupError, SyntaxError, TypeError, ValueError) as error:
            problems.append(str(error) if isinstance(error, LookupError) else f"{entry.mutant.name}: {error}")
    return problems


def run_child(entry: Entry) -> int:
    """Pytest's exit status with the mutant in place: 1 if a test fails."""
    import pytest

    sys.meta_path.insert(0, Importer(*mutate(entry.module, entry.mutant)))
    return int(pytest.main([*PYTEST, *entry.tests]))


def judge(entry: Entry) -> tuple[Entry, str, float, str]:
    """Run the tests of a mutant in a new process."""
    start = time.time()
    command = [sys.executable, "-m", "tests.mutants", "--child", entry.mutant.name]
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    verdict = {0: "SURVIVED", 1: "killed"}.get(ended.returncode, "BROKEN")
    return entry, verdict, time.time() - start, ended.stdout + ended.stderr


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", action="append", default=[], help="mutants or modules that contain this; repeatable")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--check", action="store_true", help="only find the expressions and compile the changes")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    entries = load()
    if args.child:
        return run_child(next(entry for entry in entries if entry.mutant.name == args.child))
    chosen = [e for e in entries if not args.only or any(part in f"{e.module} {e.mutant.name}" for part in args.only)]
    problems = check(chosen)
    if problems or not chosen:
        print("\n".join(problems) or f"no mutant matches {args.only}", file=sys.stderr)
        return 1
    if args.check:
        print(f"{len(chosen)} mutants can be made")
        return 0
    tests = sorted({test for entry in chosen for test in entry.tests})
    if subprocess.run([sys.executable, "-m", "pytest", *PYTEST, *tests], cwd=ROOT).returncode:
        print("the tests fail without a mutant", file=sys.stderr)
        return 1
    verdicts = []
    with ThreadPoolExecutor(args.jobs) as pool:
        for entry, verdict, seconds, output in pool.map(judge, chosen):
            verdicts.append(verdict)
            print(f"{verdict:9} {seconds:5.1f} s  {entry.module:35} {entry.mutant.name}", flush=True)
            if verdict == "BROKEN":
                print(output[-3000:], file=sys.stderr)
    killed, survived = verdicts.count("killed"), verdicts.count("SURVIVED")
    print(f"{killed} of {len(verdicts)} killed, {survived} survived, {verdicts.count('BROKEN')} broken")
    return 0 if killed == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
