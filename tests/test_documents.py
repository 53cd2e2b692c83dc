"""What the documents name is there: files, make targets, commands, tests."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "tests/README.md"]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_named_in_documents_exist(document):
    text = (ROOT / document).read_text()
    named = set(re.findall(r"`((?:dreamjax|experiments|tests)/[\w/.]*)`", text))
    named |= set(re.findall(r"--config=([\w/]+\.py)", text))
    missing = sorted(name for name in named if not (ROOT / name).exists())
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_named_in_documents_exist(document):
    text = (ROOT / document).read_text()
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.M))
    assert targets <= TARGETS
    missing = sorted(name for name in re.findall(r"python -m ([\w.]+)", text) if find_spec(name) is None)
    assert not missing


def test_the_two_commands_open_the_readme():
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if line]
    assert [line.split("#")[0].strip() for line in lines[1:5]] == ["```", "make train", "make test", "```"]


def test_every_make_target_is_phony_and_documented():
    joined = MAKEFILE.replace("\\\n", " ")
    phony = set(re.search(r"^\.PHONY: (.*)", joined, re.M)[1].split())
    assert phony == TARGETS
    undocumented = [target for target in TARGETS if not re.search(rf"^{target}:.*## \w", MAKEFILE, re.M)]
    assert not undocumented


def test_tests_named_by_contract_exist():
    """Each `path::test` of tests/README.md is a test function there."""
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "tests/README.md").read_text())
    missing = []
    for path, name in named:
        file = ROOT / "tests" / path
        if not file.exists() or not re.search(rf"^\s*def {name}\(", file.read_text(), re.M):
            missing.append(f"{path}::{name}")
    assert named and not missing


def test_the_lock_has_no_hosts_and_fits_the_project():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock and "--" not in lock
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lock.splitlines() if "==" in line}
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {re.split(r"[\[<>=; ]", want)[0].lower().replace("_", "-") for want in wanted}
    assert names <= pinned
