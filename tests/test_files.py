"""Files and folders appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamjax import files


def test_a_file_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "below" / "a.txt"
    files.write_text(path, "first")
    with pytest.raises(ValueError, match="in between"), files.atomic_file(path) as temporary:
        temporary.write_text("half of the sec")
        raise ValueError("in between")
    assert path.read_text() == "first"
    files.write_text(path, "second")
    assert path.read_text() == "second"
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


def test_a_folder_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with files.atomic_folder(path) as temporary:
        (temporary / "old").write_text("x")
    with pytest.raises(ValueError, match="in between"), files.atomic_folder(path) as temporary:
        (temporary / "new").write_text("y")
        raise ValueError("in between")
    assert [file.name for file in path.iterdir()] == ["old"]
    with files.atomic_folder(path) as temporary:
        (temporary / "new").write_text("y")
    assert [file.name for file in path.iterdir()] == ["new"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256(tmp_path / "a") == files.sha256(b"abc")
    assert files.sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_missing_file_cannot_be_synced(tmp_path: Path) -> None:
    files.sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        files.sync(tmp_path / "missing")
