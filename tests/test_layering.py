"""The rooms of the house: imports go down only, few rooms touch files, and some names are not used at all."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import ROOT

# A module imports from its own room and from rooms of a lower rank. Those in `BASE` make one room; `top` is the package's
# own `__init__`, where the public names come from, and its `__main__` is one of the commands.
RANKS = {
    "base": 0, "envs": 1, "buffers": 1, "models": 2, "algorithms": 3, "agents": 4, "reporting": 5, "training": 6,
    "top": 7, "commands": 8, "experiments": 9,
}  # fmt: skip
BASE = ("types", "seeds", "config", "presets", "configs", "files")
TOUCH_FILES = ("reporting", "training", "top", "commands", "experiments")
# A worker process that dies or hangs leaves its traceback in a temporary file for its parent: no other way out is sure.
MAY_TOUCH_FILES = ("dreamjax/files.py", "dreamjax/envs/workers/process.py", "dreamjax/envs/workers/vector_env.py")
FILE_CALLS = {
    "open", "read_text", "write_text", "read_bytes", "write_bytes", "mkdir", "makedirs", "unlink", "rmtree", "savez",
    "savez_compressed", "memmap", "fdopen",
}  # fmt: skip
NUMPY_FILE_CALLS = {"load", "save", "fromfile", "loadtxt", "savetxt"}


def room_of(module: str) -> str | None:
    """The room of a dotted name, or None for a module of somebody else."""
    first, *rest = module.split(".")
    if first in ("experiments", "tests"):
        return first
    if first != "dreamjax":
        return None
    if not rest:
        return "top"
    if rest[0] == "__main__":
        return "commands"
    return "base" if rest[0] in BASE else rest[0]


def module_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported, inside functions too."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from dreamjax import config` names a module; `from dreamjax.config import Config` does not.
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}" if module == "dreamjax" else module


def import_violations(tree: ast.AST, path: Path, root: Path) -> Iterator[str]:
    room = room_of(module_of(path, root))
    assert room is not None
    if room not in RANKS:
        yield f"{path}: {room} is no room of the house"
        return
    for line, name in imports(tree, path, root):
        target = room_of(name)
        if target is None or target == room:
            continue
        if target not in RANKS or RANKS[target] >= RANKS[room]:
            yield f"{path}:{line}: {room} imports {name}, which is not below it"


def file_violations(tree: ast.AST, path: Path, root: Path) -> Iterator[str]:
    if room_of(module_of(path, root)) in TOUCH_FILES or path.relative_to(root).as_posix() in MAY_TOUCH_FILES:
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id == "open":
            yield f"{path}:{node.lineno}: opens a file"
        elif isinstance(function, ast.Attribute):
            of_numpy = isinstance(function.value, ast.Name) and function.value.id in ("np", "numpy", "jnp")
            if function.attr in FILE_CALLS or (of_numpy and function.attr in NUMPY_FILE_CALLS):
                yield f"{path}:{node.lineno}: touches files by {function.attr}"


def name_violations(tree: ast.AST, path: Path) -> Iterator[str]:
    if path.name == "utils.py":
        yield f"{path}: name the file for its subject"
    for node in ast.walk(tree):
        names = {
            ast.Name: lambda n: isinstance(n.ctx, ast.Store) and n.id,
            ast.Attribute: lambda n: isinstance(n.ctx, ast.Store) and n.attr,
            ast.arg: lambda n: n.arg,
            ast.keyword: lambda n: n.arg,
        }.get(type(node), lambda n: None)(node)
        if names == "done":
            yield f"{path}:{node.lineno}: is it is_last or is_terminal? Nothing is called done"


def violations(root: Path) -> list[str]:
    found: list[str] = []
    for folder in ("dreamjax", "experiments"):
        for path in sorted((root / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(), str(path))
            found += import_violations(tree, path, root)
            found += file_violations(tree, path, root)
            found += name_violations(tree, path)
    for path in sorted((root / "tests").rglob("*.py")):
        found += name_violations(ast.parse(path.read_text(), str(path)), path)
    return found


def test_the_house():
    found = violations(ROOT)
    assert not found, "\n".join(found)


GOOD = {
    "dreamjax/__init__.py": "from dreamjax.training.storage.checkpoint import load",
    "dreamjax/types.py": "import numpy as np",
    "dreamjax/config.py": "from dreamjax.types import X",
    "dreamjax/models/rssm.py": "from dreamjax import config\nfrom . import nets\nfrom ..types import X",
    "dreamjax/models/nets.py": "from .. import types",
    "dreamjax/training/trainer.py": "import dreamjax.agents.x\nfrom dreamjax.reporting import logger\nopen('x')",
    "dreamjax/reporting/media.py": "from dreamjax.agents import a\nPath('x').write_bytes(b'')",
    "dreamjax/commands/train.py": "import dreamjax\nfrom dreamjax.training import trainer\nopen('x')",
    "dreamjax/__main__.py": "from dreamjax.commands import COMMANDS",
    "dreamjax/configs/cartpole.py": "from dreamjax.config import presets",
    "experiments/train.py": "from dreamjax.commands import train",
    "tests/test_x.py": "from dreamjax.models import rssm",
}
BAD = [
    ("dreamjax/models/a.py", "from dreamjax.algorithms import b", "models imports dreamjax.algorithms"),
    ("dreamjax/models/a.py", "def f():\n    import dreamjax.agents", ":2: models imports dreamjax.agents"),
    ("dreamjax/envs/a.py", "from dreamjax.models import b", "envs imports dreamjax.models"),
    ("dreamjax/envs/tetris/a.py", "from ... import buffers", "envs imports dreamjax.buffers"),
    ("dreamjax/buffers/a.py", "from dreamjax import envs", "buffers imports dreamjax.envs"),
    ("dreamjax/buffers/a.py", "from ..models.nets import MLP", "buffers imports dreamjax.models.nets"),
    ("dreamjax/config.py", "from dreamjax import envs", "base imports dreamjax.envs"),
    ("dreamjax/reporting/a.py", "from dreamjax.training import trainer", "reporting imports dreamjax.training"),
    ("dreamjax/agents/a.py", "import dreamjax", "agents imports dreamjax,"),
    ("dreamjax/training/a.py", "from dreamjax.commands import cli", "training imports dreamjax.commands"),
    ("dreamjax/configs/a.py", "from dreamjax.envs import b", "base imports dreamjax.envs"),
    ("dreamjax/commands/a.py", "from experiments import train", "commands imports experiments"),
    ("dreamjax/commands/a.py", "def f():\n    import experiments.compare", "commands imports experiments.compare"),
    ("dreamjax/training/a.py", "import tests.conftest", "training imports tests.conftest"),
    ("dreamjax/attic/a.py", "", "attic is no room"),
    ("dreamjax/algorithms/a.py", "open('x')", "opens a file"),
    ("dreamjax/envs/a.py", "import numpy as np\nnp.load('x')", "touches files by load"),
    ("dreamjax/agents/a.py", "def f(p):\n    return p.read_text()", "touches files by read_text"),
    ("dreamjax/training/utils.py", "", "name the file for its subject"),
    ("tests/utils.py", "", "name the file for its subject"),
    ("dreamjax/envs/a.py", "done = True", "Nothing is called done"),
    ("dreamjax/envs/a.py", "def f(done):\n    pass", "Nothing is called done"),
    ("dreamjax/envs/a.py", "for (a, done) in x:\n    pass", "Nothing is called done"),
    ("dreamjax/envs/a.py", "self.done = 1", "Nothing is called done"),
    ("experiments/a.py", "f(done=1)", "Nothing is called done"),
]


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_a_good_house_passes(tmp_path):
    write(tmp_path, GOOD)
    assert violations(tmp_path) == []


@pytest.mark.parametrize(("name", "text", "message"), BAD, ids=[f"{i}-{bad[0]}" for i, bad in enumerate(BAD)])
def test_each_fault_is_found(tmp_path, name, text, message):
    write(tmp_path, GOOD | {name: text})
    found = violations(tmp_path)
    assert len(found) == 1 and message in found[0]
