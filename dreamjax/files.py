"""Files and folders that appear whole or not at all, and SHA-256 of what they hold. Standard library only."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Around the writing of one file: the block writes to the path that it is given, which then takes ``path``'s place.

    Where the block raises, ``path`` is as it was before. The folder is made where it is missing.

    Raises:
        OSError: the folder cannot be made, or the file cannot take its place.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Around the writing of a folder: the block fills a new one, which then takes the place of ``path`` and all in it.

    Where the block raises, ``path`` is as it was before.

    Raises:
        OSError: the folder cannot be made, or cannot take its place.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file, whole or not at all. Raises OSError."""
    with atomic_file(path) as temporary:
        temporary.write_text(text)


def sync(path: Path) -> None:
    """Waits until a file or folder has reached the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(source: Path | bytes) -> str:
    """SHA-256 of a file's content, or of bytes, in hexadecimal."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
