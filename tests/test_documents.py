"""What the documents name is there: files, links, make targets, commands with their arguments, fields, tests."""

import argparse
import functools
import importlib
import re
import shlex
import tomllib
from importlib.util import find_spec
from typing import Any

import pytest

from dreamjax.commands import ALIASES, COMMANDS, cli
from dreamjax.config import Config, from_dict, legacy
from dreamjax.config.overrides import override
from dreamjax.config.schema import ConfigError, fields, is_group
from tests.helpers import ROOT

PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "tests/README.md", "experiments/SCALING.md", *PAGES]
# Documents that show commands of today, and the configurations, whose headers do.
TODAY = [document for document in DOCUMENTS if document != "CHANGELOG.md"]
TODAY += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "dreamjax/configs").glob("[a-z]*.py"))
TODAY += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "dreamjax/shipped").glob("*/README.md"))
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))
FENCE = re.compile(r"^```([\w{}-]*)[^\n`]*\n(.*?)^```$", re.M | re.S)


def read(document: str) -> str:
    return (ROOT / document).read_text()


def without_code(text: str) -> str:
    return FENCE.sub("", text)


# The README is a door.


def test_the_readme_stays_short():
    assert 600 <= len(read("README.md").split()) <= 900


def test_the_two_commands_open_the_readme():
    language, block = FENCE.search(read("README.md")).groups()
    assert not language
    assert [line.split("#")[0].strip() for line in block.splitlines()] == ["make train", "make test"]


def test_the_readme_links_pages():
    """Those of the site's contents that a newcomer looks for; `tests/test_site.py` checks that the contents have all."""
    linked = set(re.findall(r"\]\((docs/[\w/-]+\.md)\)", read("README.md")))
    assert {"docs/index.md", "docs/install.md", "docs/ten-minutes.md", "docs/python.md", "docs/results.md"} <= linked


def test_the_python_of_the_readme_runs():
    """In at most 12 lines, from the import to actions in the environment."""
    blocks = [code for language, code in FENCE.findall(read("README.md")) if language == "python"]
    assert len(blocks) == 1
    assert len(blocks[0].splitlines()) <= 12
    names: dict[str, Any] = {}
    exec(blocks[0], names)
    assert names["env"].action_space.contains(names["action"])
    names["env"].close()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", *PAGES])
def test_lines_of_prose_fit_a_screen(document):
    prose = [line for line in without_code(read(document)).splitlines() if not line.startswith("|")]
    assert [line for line in prose if len(line) > 120] == []


# Files and links.


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_named_in_documents_exist(document):
    text = read(document)
    named = set(re.findall(r"`((?:dreamjax|experiments|tests|docs)/[\w/.-]*)`", text))
    named |= set(re.findall(r"--config=([\w/]+\.py)", text))
    missing = sorted(name for name in named if not (ROOT / name).exists())
    assert not missing


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", without_code(page), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_resolve(document):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(read(document))):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / document).parent / name if name else ROOT / document
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert not broken


# Commands.


class Parsed(BaseException):
    """Ends a command that has parsed its arguments; no command catches it."""

    def __init__(self, rest: list[str]) -> None:
        self.rest = rest


@pytest.fixture
def stop_after_parsing(monkeypatch):
    """Makes every command raise Parsed, with the arguments that its parser did not know, in place of running."""
    parse = argparse.ArgumentParser.parse_known_args

    def parse_and_stop(self, *args, **kwargs):
        raise Parsed(parse(self, *args, **kwargs)[1])

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parse_and_stop)
    monkeypatch.chdir(ROOT)


def commands(text: str) -> list[str]:
    """Commands of a text: lines of code blocks and indented lines, and code within prose."""
    blocks = [code for language, code in FENCE.findall(text) if not language]
    indented = re.findall(r"^    (?=dreamjax |python -m )(.*)$", text, re.M)
    lines = "\n".join([*blocks, *indented]).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`([^`\n]* --[^`\n]*)`", without_code(text))
    found = []
    for line in lines:
        command = re.sub(r"^(?:[A-Z_]+=\S+ |taskset -c [\d,]+ |exec )+", "", line.split(" #")[0].strip().rstrip(" &"))
        if re.match(r"(?:\.venv/bin/)?(?:dreamjax|python -m (?:dreamjax|experiments)\S*) [\w-]", command):
            found.append(command.removeprefix(".venv/bin/"))
    return found


def split(command: str) -> tuple[str, list[str]]:
    """The module that a command runs, and its arguments."""
    first, *words = shlex.split(re.sub(r"\$\w+|\$\{\w+\}", "1", command))
    if first == "python":
        first, *words = words[1:]
    if first == "dreamjax":
        name = ALIASES.get(words[0], words[0])
        assert name in COMMANDS, command
        return f"dreamjax.commands.{name.replace('-', '_')}", words[1:]
    return first, words


@pytest.mark.parametrize("document", DOCUMENTS)
def test_modules_and_targets_of_commands_exist(document):
    text = read(document)
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.M))
    assert targets <= TARGETS
    missing = sorted(name for name in re.findall(r"python -m ([\w.]+)", text) if find_spec(name) is None)
    assert not missing


@pytest.mark.parametrize("document", TODAY)
def test_commands_take_their_arguments(document, stop_after_parsing):
    """Every command's own parser reads the arguments; configurations, their variants and their fields exist."""
    for command in commands(read(document)):
        if command.startswith("dreamjax --"):
            continue
        module, arguments = split(command)
        with pytest.raises(Parsed) as parsed:
            importlib.import_module(module).main(arguments)
            pytest.fail(f"{command}: not accepted")
        overrides = cli.split_overrides(parsed.value.rest)
        source = next((word.partition("=")[2] for word in arguments if word.startswith("--config=")), None)
        if module.endswith("check_env"):
            from_dict(override({}, overrides))
            continue
        assert source or not overrides, command
        if source and source not in ("FILE", "NAME"):
            cli.load_config(source, overrides)


def test_commands_are_found():
    text = (
        "```\nA=1 python -m experiments.train --config=x \\\n  --workdir=y &  # why\n```\nand `dreamjax play --seed=1`"
    )
    assert commands(text) == ["python -m experiments.train --config=x    --workdir=y", "dreamjax play --seed=1"]
    assert sum(len(commands(read(document))) for document in TODAY) > 40


# Fields.


@functools.cache
def changes(text: str) -> list[tuple[str, str]]:
    """The file of each change that a page shows as a diff, and a run of lines that the change needs to find there."""
    runs = []
    for block in re.findall(r"```diff\n(.*?)```", text, re.DOTALL):
        for part in block.split("--- ")[1:]:
            name, *hunks = part.split("@@\n")
            for hunk in hunks:
                lines = [line[1:] for line in hunk.splitlines() if not line.startswith("+")]
                runs.append((name.strip(), "\n".join(lines)))
    return runs


def test_changes_shown_apply_to_the_code():
    shown = changes(read("docs/change-one-part.md"))
    assert len(shown) == 5
    for name, lines in shown:
        assert lines in read(name), f"{name} has changed: {lines}"


def field_names() -> set[str]:
    """Dotted names of all fields, and those of the groups."""

    def walk(group: Any, prefix: str) -> set[str]:
        found = set()
        for field in fields(group):
            found.add(prefix + field.name)
            if is_group(field.hint):
                found |= walk(field.hint, f"{prefix}{field.name}.")
        return found

    return walk(Config, "")


@pytest.mark.parametrize("document", ["README.md", *PAGES])
def test_fields_named_in_documents_exist(document):
    groups = {name.split(".")[0] for name in field_names() if "." in name}
    lines = [line for line in read(document).splitlines() if "*removed*" not in line]
    named = re.findall(rf"(?:`|--config\.)((?:{'|'.join(sorted(groups))})\.[a-z_]+)", "\n".join(lines))
    named += re.findall(r"--config\.([a-z_]+)[=\s]", "\n".join(lines))
    assert sorted(set(named) - field_names()) == []


def test_the_changelog_has_every_old_field():
    values = {f'{name}="{value}"' for name, values in legacy.RENAMED_VALUES.items() for value in values}
    named = set(re.findall(r"`([^`]+)`", read("CHANGELOG.md")))
    old = values | legacy.RENAMED.keys() | legacy.REMOVED.keys()
    assert {name for name in old if not named & {name, f"{name}.*"}} == set()


def test_an_unknown_field_is_not_accepted():
    with pytest.raises(ConfigError):
        cli.load_config("cartpole", {"no.such": "1"})


# Makefile, contracts, lock.


def test_every_make_target_is_phony_and_documented():
    joined = MAKEFILE.replace("\\\n", " ")
    phony = set(re.search(r"^\.PHONY: (.*)", joined, re.M)[1].split())
    assert phony == TARGETS
    undocumented = [target for target in TARGETS if not re.search(rf"^{target}:.*## \w", MAKEFILE, re.M)]
    assert not undocumented


def test_tests_named_by_contract_exist():
    """Each `path::test` of tests/README.md is a test function there."""
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", read("tests/README.md"))
    missing = []
    for path, name in named:
        file = ROOT / "tests" / path
        if not file.exists() or not re.search(rf"^\s*def {name}\(", file.read_text(), re.M):
            missing.append(f"{path}::{name}")
    assert named and not missing


def test_the_lock_has_no_hosts_and_fits_the_project():
    lock = read("requirements.lock")
    assert "://" not in lock and "--" not in lock
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lock.splitlines() if "==" in line}
    project = tomllib.loads(read("pyproject.toml"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {re.split(r"[\[<>=; ]", want)[0].lower().replace("_", "-") for want in wanted}
    assert names <= pinned
