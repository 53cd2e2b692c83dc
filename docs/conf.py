"""Sphinx: pages in Markdown (MyST), the theme furo, references generated from the code. `make docs` builds the site."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import reference  # noqa: E402

import dreamjax  # noqa: E402

project = "DreamJAX"
copyright = "2026, The DreamJAX authors"
author = "The DreamJAX authors"
release = version = dreamjax.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "README.md"]
html_theme = "furo"
html_title = f"DreamJAX {release}"
html_static_path = ["pictures"]
templates_path: list[str] = []
highlight_language = "text"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
# Docstrings write code as in NumPy's style, between double backquotes; single ones are names.
default_role = "code"

# Pages link to files of the repository; the site has some of them as pages, and names the others.
OUTSIDE = {
    "../CHANGELOG.md": "changelog.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../tests/README.md": "contracts.md",
    "../README.md": "index.md",
}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")


def rewrite_links(text: str) -> str:
    """Links that leave ``docs/`` as links to the site's page of that file, or as the file's name."""

    def one(match: re.Match[str]) -> str:
        words, target, anchor = match.groups()
        return f"[{words}]({OUTSIDE[target]}{anchor or ''})" if target in OUTSIDE else f"{words} (`{target[3:]}`)"

    return LINK.sub(one, text)


def read_source(app: Any, name: str, content: list[str]) -> None:
    """Fills in the generated parts of a page, ``<!-- generated: NAME -->``, and rewrites its links."""
    content[0] = reference.fill(content[0])
    if "/" not in name:
        content[0] = rewrite_links(content[0])


def read_included(app: Any, path: Path, parent: str, content: list[str]) -> None:
    """Links of files of the repository's root, as seen from ``docs/``."""
    text = re.sub(r"\]\(docs/", "](", content[0])
    text = re.sub(r"\]\(((?:CHANGELOG|CONTRIBUTING|README)\.md)", r"](../\1", text)
    content[0] = rewrite_links(text)


def read_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Sections of a docstring as lists."""
    lines[:] = reference.as_lists(lines)


def skip_member(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Fields of named tuples: their class describes them."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app: Any) -> None:
    """Connects the above."""
    app.connect("source-read", read_source)
    app.connect("include-read", read_included)
    app.connect("autodoc-process-docstring", read_docstring, priority=100)
    app.connect("autodoc-skip-member", skip_member)
