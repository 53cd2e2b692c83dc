"""The documentation site: every page is found, the generated parts hold what they should, code of pages runs."""

from __future__ import annotations

import fnmatch
import importlib.util
import re
import runpy
import tomllib
from typing import Any

import jax
import matplotlib.pyplot as plt
import pytest

import dreamjax
from dreamjax.agents.agent import dummy_batch, make_agent
from dreamjax.commands import COMMANDS
from dreamjax.commands import config as config_command
from dreamjax.training.metrics import RunClock
from dreamjax.training.runtime import memory
from tests.helpers import ROOT
from tests.helpers.configs import make_tiny_config
from tests.test_documents import FENCE, PAGES, read

DOCS = ROOT / "docs"
SPEC = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
reference = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(reference)


def python_of(page: str) -> list[str]:
    return [code for language, code in FENCE.findall(read(page)) if language == "python"]


# Pages.


def test_every_page_is_in_the_contents_once():
    listed = [line for block in re.findall(r"```\{toctree\}\n(.*?)```", read("docs/index.md"), re.S)
              for line in block.splitlines() if line and not line.startswith(":")]  # fmt: skip
    assert sorted(listed) == sorted(page[5:-3] for page in PAGES if page != "docs/index.md")


def test_pictures_of_pages_exist():
    for page in PAGES:
        for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", read(page)):
            assert ((ROOT / page).parent / name).is_file(), f"{page}: {name}"


@pytest.mark.parametrize("page", [page for page in PAGES if python_of(page)])
def test_python_of_pages_compiles_and_names_what_is_there(page):
    for code in python_of(page):
        compile(code, page, "exec")
        assert {name for name in re.findall(r"\bdj\.(\w+)", code) if not hasattr(dreamjax, name)} == set()


def test_the_tour_runs_and_uses_every_public_name(tmp_path, monkeypatch):
    """With the smallest configuration in the place of `cartpole:smoke`."""
    tiny = make_tiny_config(env={"id": "CartPole-v1"})
    asked = []
    monkeypatch.setattr(dreamjax, "load_config", lambda *arguments: asked.append(arguments) or tiny)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code in python_of("docs/python.md"):
        exec(code, names)
    assert asked == [("cartpole:smoke", {"seed": 1, "env": {"id": "CartPole-v1"}})]
    assert names["complete"] and names["total"] >= 1
    assert names["state"].step == 1 and names["dream"]["dream"]["observation"].shape == (4, 6, 4)
    assert {name for name in dreamjax.__all__ if f"dj.{name}" not in read("docs/python.md")} == set()


def test_the_citation_fits_the_package():
    project = tomllib.loads(read("pyproject.toml"))["project"]
    (author,) = project["authors"]
    for page in ("CITATION.cff", "docs/citation.md"):
        text = read(page)
        assert project["version"] in text and author["name"] in text
    assert author["name"] in read("LICENSE")


# Notebooks.


def test_the_notebook_load_step_dream(monkeypatch):
    monkeypatch.setenv("DREAMJAX_STEPS", "12")
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()))
    names = runpy.run_path(str(DOCS / "notebooks/load_step_dream.py"))
    plt.close("all")
    assert len(names["seen"]) == 12 and names["real"].shape == names["dream"].shape == (12, 2, 20, 10)
    assert names["exact"] >= 1  # the piece falls as the model says
    assert len(shown) == 1 and len(shown[0].axes) == 16


def test_the_notebook_train_cartpole(monkeypatch):
    tiny = make_tiny_config(env={"id": "CartPole-v1"})
    monkeypatch.setattr(dreamjax, "load_config", lambda name: tiny)
    monkeypatch.setenv("DREAMJAX_STEPS", "101")
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()))
    names = runpy.run_path(str(DOCS / "notebooks/train_cartpole.py"))
    plt.close("all")
    assert names["state"].step == len(range(12, 101, 4))
    assert names["updates"] == [100] and len(names["returns"]) == len(names["ends"]) > 1
    assert len(shown) == 1


@pytest.mark.parametrize("path", sorted((DOCS / "notebooks").glob("*.py")), ids=lambda path: path.stem)
def test_notebooks_begin_with_words_and_have_no_empty_cell(path):
    _, *cells = re.split(r"^# %%", path.read_text(), flags=re.M)
    assert cells[0].startswith(" [markdown]\n# # ")
    assert all(cell.partition("\n")[2].strip() for cell in cells)


# Generated parts.


def test_fields_have_a_row_each():
    page = reference.fields()
    rows = re.findall(r"^\| `([\w.]+)` \| (.*) \|$", page, re.M)
    assert [name for name, _ in rows] == [entry.name for entry in config_command.entries()]
    assert all(len(re.split(r"(?<!\\)\|", row)) == 3 for _, row in rows)
    assert "| `loss.lam` | `0.95` | a number, in [0, 1] | " in page
    assert "## `replay`" in page


def test_commands_have_their_help():
    page = reference.commands()
    assert re.findall(r"^## (.*)$", page, re.M) == list(COMMANDS)
    assert page.count("```text\nusage: dreamjax ") == len(COMMANDS)
    assert max(map(len, page.splitlines())) <= 124


def test_marks_are_filled():
    assert reference.fill("a\n<!-- generated: fields -->\nb") == f"a\n{reference.fields()}\nb"
    for page in ("fields", "commands"):
        assert f"\n<!-- generated: {page} -->\n" in read(f"docs/reference/{page}.md")


def test_sections_of_docstrings_become_lists():
    docstring = """Does it.

Args:
    x: float32 ``[N]``. y, z: more
        of it: still y.
    key: the key.

Returns:
    The result.

Nothing else."""
    assert reference.as_lists(docstring.splitlines()) == [
        "Does it.", "",
        "", "**Args:**", "",
        "* ``x``: float32 ``[N]``.", "* ``y, z``: more", "  of it: still y.", "* ``key``: the key.", "",
        "", "**Returns:**", "",
        "The result.", "",
        "", "Nothing else.",
    ]  # fmt: skip


# Metrics.


def metrics_of_updates() -> set[str]:
    """The metrics of an update of an agent that has every part."""
    from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec

    spec = EnvSpec({"observation": ObsSpec("vector", (3,), "float32")}, ActionSpec((ActionPart("categorical", 2),)))
    config = make_tiny_config(ensemble={"size": 2, "units": 4, "layers": 1}, explore={"steps": 32})
    agent = make_agent(config, spec)
    state = jax.eval_shape(agent.init, jax.random.key(0))
    update = lambda state, batch: agent.update(state, batch, phases=("world_model", "actor_critic", "explorer"))
    return set(jax.eval_shape(update, state, dummy_batch(spec, 2, 6))[1])


def test_every_metric_is_explained():
    explained = re.findall(r"^\| (`.*?`) \|", read("docs/logs.md"), re.M)
    names = [re.sub(r"<\w+>", "*", name) for row in explained for name in re.findall(r"`([^`]+)`", row)]
    names += ["explorer/*"]
    logged = metrics_of_updates() | set(RunClock().rates(1, 1)) | set(memory.statistics())
    logged |= {"train/skipped", "episode/return", "eval/lines_mean", "eval/lines_stderr", "replay/size", "replay/ratio"}
    assert "explorer/disagreement" in logged and "imagination/disagreement" in logged
    assert {name for name in logged if not any(fnmatch.fnmatchcase(name, known) for known in names)} == set()
    # And nothing is explained that is not logged.
    logged |= {"memory/device_bytes_in_use", "memory/device_peak_bytes", "episode/length"}
    assert {name for name in names if not fnmatch.filter(logged, name)} == set()
