"""``metrics.jsonl``: one JSON object per line, truncated to a checkpoint when a run resumes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

BLOCK = 1 << 16  # bytes read at a time in the search for the end of a line


def encode_line(record: Mapping[str, Any]) -> bytes:
    """Returns one line of strict JSON.

    JSON has no NaN and no infinity. Such a value is written as ``null``, and the entry
    ``"nonfinite": {name: "nan" | "inf" | "-inf"}`` is added to the line.
    """
    nonfinite = {
        name: str(value) for name, value in record.items() if isinstance(value, float) and not math.isfinite(value)
    }
    line = {name: None if name in nonfinite else value for name, value in record.items()}
    if nonfinite:
        line["nonfinite"] = nonfinite
    return json.dumps(line, allow_nan=False, separators=(", ", ": ")).encode() + b"\n"


def read_metrics(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yields the objects of a metrics file; an incomplete last line (after a crash) is skipped."""
    with open(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


class MetricsFile:
    """Appends lines; each line is passed to the operating system immediately, and entirely or not at all."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered, so that an accepted line survives the death of this process.
        self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        self.offset = 0

    def continue_from(self, offset: int) -> bool:
        """Continues after ``offset``, or after the last complete line before it; later lines will be dropped.

        Returns:
            Whether a line of the file ends at ``offset``.
        """
        size = min(offset, os.fstat(self._file.fileno()).st_size)
        while size > 0:
            start = max(0, size - BLOCK)
            self._file.seek(start)
            newline = self._file.read(size - start).rfind(b"\n")
            size = start + newline + 1
            if newline >= 0:
                break
        self.offset = size
        return size == offset

    def append(self, record: Mapping[str, Any]) -> None:
        """Writes one line at ``offset`` and drops everything after it.

        Raises:
            OSError: if the line cannot be written entirely (a full disk); the file then ends before it.
        """
        line = encode_line(record)
        try:
            self._file.seek(self.offset)
            self._file.truncate()
            written = 0
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError:
            self._file.truncate(self.offset)
            raise
        self.offset += len(line)

    def close(self) -> None:
        self._file.close()
