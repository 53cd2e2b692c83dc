"""The mutants of ``tests/mutants/`` fit the code; ``make mutants`` shows that tests notice them."""

import ast

import pytest

from tests.mutants import Mutant, _syntax
from tests.mutants.__main__ import check
from tests.mutants._catalog import load
from tests.mutants._syntax import ROOT, mutate


def test_every_mutant_changes_one_place_and_compiles():
    problems = check(load())
    assert not problems, "\n".join(problems)


def test_the_tests_of_every_mutant_exist():
    for mutant, _, tests in load():
        for test in tests:
            path, _, name = test.partition("::")
            file = ROOT / path
            assert file.exists(), f"{mutant.name}: there is no {path}"
            function = name.partition("[")[0].rpartition("::")[2]
            assert not name or f"def {function}(" in file.read_text(), f"{mutant.name}: there is no {test}"


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A package ``room`` of two modules."""
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "one.py").write_text("def f(x):\n    y = g(x,  a = 1)  # twice\n    return y + y[0] * 2\n")
    (tmp_path / "room" / "two.py").write_text(
        "LIMIT = 3\nclass C:\n    def f(self):\n        def h():\n            pass\n"
    )
    monkeypatch.setattr(_syntax, "ROOT", tmp_path)


@pytest.mark.parametrize(
    ("scope", "old", "new", "line"),
    [
        ("f", "y[0] * 2", "y[1]", "return y + y[1]"),
        ("f", "g(x, a=1)", "x", "y = x"),
        ("f", "a=1", "", "y = g(x)"),
        ("f", "a=1", "a=2", "y = g(x, a=2)"),
        ("f", "y = g(x, a=1)", "y = x; y *= 2", "y = x\n    y *= 2"),
        ("f", "y = g(x, a=1); return y + y[0] * 2", "return x", "def f(x):\n    return x"),
        ("LIMIT", "3", "4", "LIMIT = 4"),
        ("C.f.h", "pass", "return 1", "return 1"),
        ("h", "pass", "return 1", "return 1"),
    ],
)
def test_an_expression_is_found_whatever_its_format_and_its_file(room, scope, old, new, line):
    _, tree = mutate("room", Mutant("name", scope, old, new))
    assert line in ast.unparse(tree)


def test_the_occurrence_is_counted_in_the_order_of_the_source(room):
    _, tree = mutate("room.one", Mutant("name", "f", "y", "x", index=1))
    assert "return y + x[0] * 2" in ast.unparse(tree)


@pytest.mark.parametrize(
    ("scope", "old", "message"),
    [
        ("f", "y", "occurs 2 times in f of room"),
        ("f", "z", "occurs 0 times in f of room; it occurs nowhere"),
        ("C", "y[0]", r"it occurs in f \(room/one.py\)"),
        ("f", "y[", "neither an expression nor statements"),
    ],
)
def test_what_does_not_occur_once_is_refused(room, scope, old, message):
    with pytest.raises(LookupError, match=message):
        mutate("room", Mutant("name", scope, old, "0"))
