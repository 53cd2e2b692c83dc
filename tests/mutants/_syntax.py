"""Find a mutant's expression in the syntax tree of its module and replace it."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.mutants import Mutant

ROOT = Path(__file__).resolve().parents[2]

Code = list[ast.AST]  # one expression, one keyword argument, or statements


class Place(NamedTuple):
    """Where code hangs in a tree."""

    parent: ast.AST
    field: str
    span: slice | None  # of the list that the field holds, if it is one

    def nodes(self) -> Code:
        value = getattr(self.parent, self.field)
        return [value] if self.span is None else value[self.span]

    def replace(self, nodes: Code) -> None:
        first = self.nodes()[0]
        if self.span is None:
            setattr(self.parent, self.field, nodes[0])
        else:
            getattr(self.parent, self.field)[self.span] = nodes
        for node in nodes:
            ast.copy_location(node, first)
            ast.fix_missing_locations(node)


def files_of(module: str) -> list[Path]:
    """The file of a module by its dotted name, or all files of a package."""
    path = ROOT / module.replace(".", "/")
    return sorted(path.rglob("*.py")) if path.is_dir() else [f for f in [path.with_suffix(".py")] if f.exists()]


def mutate(module: str, mutant: Mutant) -> tuple[Path, ast.Module]:
    """The file that a mutant of ``module`` changes, and its tree with the change.

    Raises:
        LookupError: if the expression does not occur exactly once in the scope. The message names other scopes of the
            module that hold it.
    """
    readings = _parse(mutant)
    trees = {path: ast.parse(text) for path in files_of(module) if mutant.scope.split(".")[-1] in (text := _read(path))}
    found = [
        (path, place, new)
        for path, tree in trees.items()
        for old, new in readings
        for place in _find(tree, mutant.scope, old)
    ]
    count = len(found)
    if mutant.index is not None:
        found = found[mutant.index : mutant.index + 1]
    if len(found) != 1:
        raise LookupError(
            f"{mutant.name}: `{mutant.old}` occurs {count} times in {mutant.scope or 'the statements'} of {module}"
            + _hint(module, [old for old, _ in readings])
        )
    path, place, new = found[0]
    place.replace(new)
    return path, trees[path]


def _parse(mutant: Mutant) -> list[tuple[Code, Code]]:
    """``old`` and ``new`` as expressions or statements; ``name=value`` is a keyword argument as well."""
    try:
        old, new = ast.parse(mutant.old).body, ast.parse(mutant.new).body
    except SyntaxError as error:
        raise LookupError(f"{mutant.name}: neither an expression nor statements: {error}") from None
    if len(old) == len(new) == 1 and isinstance(old[0], ast.Expr) and isinstance(new[0], ast.Expr):
        return [([old[0].value], [new[0].value])]
    readings: list[tuple[Code, Code]] = [([*old], [*new] or [ast.Pass()])]
    keywords = [_keyword(statement) for statement in (*old, *new)]
    if len(old) == 1 and all(keywords):
        readings.append(([keywords[0]], keywords[1:]))
    return readings


def _keyword(statement: ast.stmt) -> ast.keyword | None:
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return ast.keyword(statement.targets[0].id, statement.value)
    return None


@functools.cache
def _read(path: Path) -> str:
    return path.read_text()


def _scopes(node: ast.AST, outer: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], ast.AST]]:
    """Functions and classes with their qualified names, and the constants of a module."""
    for child in ast.iter_child_nodes(node):
        names = outer
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = (*outer, child.name)
            yield names, child
        elif isinstance(child, ast.Assign | ast.AnnAssign) and not outer:
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            yield from (((target.id,), child) for target in targets if isinstance(target, ast.Name))
        yield from _scopes(child, names)


def _find(tree: ast.Module, scope: str, old: Code) -> list[Place]:
    """Places of ``old`` in the scopes whose qualified name is ``scope``, or else ends with it, in order."""
    wanted = tuple(scope.split("."))
    scopes = [(("",), tree), *_scopes(tree)]
    named = [node for names, node in scopes if names == wanted]
    named = named or [node for names, node in scopes if names[-len(wanted) :] == wanted]
    places = {id(place.nodes()[0]): place for node in named for place in _places(node, old)}
    return sorted(places.values(), key=lambda place: (place.nodes()[0].lineno, place.nodes()[0].col_offset))


def _places(node: ast.AST, old: Code) -> Iterator[Place]:
    for field, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        for i, child in enumerate(children):
            run = children[i : i + len(old)]
            if len(run) == len(old) and all(map(_same, run, old)):
                yield Place(node, field, slice(i, i + len(old)) if isinstance(value, list) else None)
            if isinstance(child, ast.AST):
                yield from _places(child, old)


def _same(a: object, b: object) -> bool:
    """Whether two trees are equal but for their positions."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, ast.AST):
        return type(a) is type(b) and all(_same(getattr(a, f, None), getattr(b, f, None)) for f in a._fields)
    return type(a) is type(b) and a == b


def _hint(module: str, olds: list[Code]) -> str:
    if not files_of(module):
        return ", of which there is neither a file nor a package"
    others = [
        f"{'.'.join(names)} ({path.relative_to(ROOT)})"
        for path in files_of(module)
        for names, node in _scopes(ast.parse(_read(path)))
        for old in olds
        if any(True for _ in _places(node, old))
    ]
    return f"; it occurs in {', '.join(others)}" if others else "; it occurs nowhere in that module"
