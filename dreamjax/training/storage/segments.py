"""Replay in a checkpoint: segments of steps, each written once, and its small changing state, written every time.

A checkpoint's ``replay/`` holds ``segment.<n>.npz`` files that together cover the stored steps. The next checkpoint links
those that still hold a stored step (a hard link; a copy where the file system has none) and writes one more: so every
checkpoint is complete by itself, deleting one frees only what no other holds, and a save costs what is new.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dreamjax.buffers.sequence_buffer import SequenceBuffer

MOST = 64  # segments of one checkpoint; beyond that all steps are rewritten as one
State = dict[str, np.ndarray]


def segments(folder: Path) -> list[Path]:
    """The segments of a checkpoint's replay, oldest first."""
    return sorted(folder.glob("segment.*.npz"), key=_number)


def _number(path: Path) -> int:
    return int(path.name.split(".")[1])


def read(path: Path) -> State:
    """The arrays of one segment; nothing in it can run code."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def read_all(folder: Path) -> Iterator[State]:
    """The segments' arrays, one after another, oldest first."""
    return (read(path) for path in segments(folder))


class Segments:
    """Writes one buffer's steps into the checkpoints of one run.

    ``write`` is followed by ``written`` once the checkpoint is complete; a write that was not is forgotten, and the next
    one covers its steps too.
    """

    def __init__(self, buffer: SequenceBuffer) -> None:
        self._buffer = buffer
        self._last: list[tuple[Path, np.ndarray]] = []  # segments of the last complete checkpoint, with their heads
        self._next: list[tuple[str, np.ndarray]] = []  # of the one under way

    def write(self, folder: Path) -> None:
        """Writes the buffer's steps into a new folder: links to what was written before, and one segment.

        Raises:
            OSError: it cannot be written.
        """
        buffer = self._buffer
        folder.mkdir()
        oldest = np.maximum(buffer.head - buffer.size, 0)
        kept = [(path, head) for path, head in self._last if (head > oldest).any()]
        if len(kept) >= MOST or not all(path.is_file() for path, _ in kept):
            kept = []
        self._next = [(path.name, head) for path, head in kept]
        for path, _ in kept:
            _link(path, folder / path.name)
        since = kept[-1][1] if kept else None
        if since is None or (buffer.head > since).any():
            # No name comes twice in a run, so that a name is a content wherever it is linked.
            number = 1 + (_number(self._last[-1][0]) if self._last else -1)
            steps, name = buffer.dump_steps(since), f"segment.{number:06d}.npz"
            np.savez(folder / name, allow_pickle=False, **steps)  # type: ignore[arg-type]
            self._next.append((name, steps["head"]))

    def written(self, folder: Path) -> None:
        """Takes ``folder``, the written one at its final place, as what the next checkpoint builds on."""
        self._last = [(folder / name, head) for name, head in self._next]

    def load(self, folder: Path, rest: State) -> None:
        """Restores the buffer from a checkpoint's folder and what changes (``SequenceBuffer.dump_rest``).

        Raises:
            ValueError: it belongs to another buffer, or lacks a segment.
        """
        if not folder.is_dir():  # written before there were segments: the steps are with the rest
            self._buffer.load_state_dict(rest)
            return
        self._next = []

        def parts() -> Iterator[State]:
            for path in segments(folder):
                part = read(path)
                self._next.append((path.name, part["head"]))
                yield part

        self._buffer.load(parts(), rest)
        self.written(folder)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # no hard links here, or too many
        shutil.copyfile(source, target)
