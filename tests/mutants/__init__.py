"""Mutants: small faults put into the library on purpose, each of which a test must notice.

``tests/mutants/`` mirrors ``dreamjax/``: ``tests/mutants/algorithms/returns.py`` lists the mutants of
``dreamjax/algorithms/returns.py``, or of every file below ``dreamjax/algorithms/returns/`` once that is a package, and
``tests/mutants/experiments/`` those of ``experiments/``. A data file has ``TESTS``, the test that must fail, and
``MUTANTS``::

    TESTS = "tests/algorithms/test_returns.py"

    MUTANTS = [
        Mutant("discount_twice", "lambda_return", "gamma * cont[:, 1:]", "gamma * gamma * cont[:, 1:]"),
    ]

A mutant names a function and an expression (or statements) in it, compared as syntax trees: formatting, comments and
the rest of the function may change, and a function may move between the files of a package.

``python -m tests.mutants`` runs the tests against each mutant, ``python -m tests.mutants --check`` only finds the
expressions, as ``tests/test_mutants.py`` does.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One fault: ``old`` becomes ``new`` in a function, and one of ``tests`` must fail.

    Attributes:
        name: unique over all mutants.
        scope: qualified name of a function, method or class (``lambda_return``, ``Policy.mode``), or its last parts
            (``update`` for a function inside of ``make_update``), or the name of a constant of the module; empty for
            statements of the module itself.
        old: an expression, a keyword argument (``axis_name=axis_name``) or statements that occur once in the scope.
        new: what stands in its place; empty to delete statements or a keyword argument.
        tests: what pytest is to run, separated by spaces; ``TESTS`` of the file by default, and ``::test_name`` for
            one test of that file.
        index: which occurrence of ``old``, counted from 0 in the order of the source, where it occurs more than once.
    """

    name: str
    scope: str
    old: str
    new: str
    tests: str = ""
    index: int | None = None
