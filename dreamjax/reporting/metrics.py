"""``metrics.jsonl``: one JSON object a line, cut back to a checkpoint when a run continues."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

BLOCK = 1 << 16  # bytes read at a time when looking back for the end of a line


def encode_line(record: Mapping[str, Any]) -> bytes:
    """One line of strict JSON.

    JSON has no NaN and no infinity: such a value is written as ``null``, and the line gets an entry
    ``"nonfinite": {name: "nan" | "inf" | "-inf"}`` that says what it was.
    """
    nonfinite = {
        name: str(value) for name, value in record.items() if isinstance(value, float) and not math.isfinite(value)
    }
    line = {name: None if name in nonfinite else value for name, value in record.items()}
    if nonfinite:
        line["nonfinite"] = nonfinite
    return json.dumps(line, allow_nan=False, separators=(", ", ": ")).encode() + b"\n"


def read_metrics(path: str | Path) -> Iterator[dict[str, Any]]:
    """The objects of a metrics file; a last line that was cut short by a crash is left out."""
    with open(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


class MetricsFile:
    """Appends lines, each written to the operating system at once and either whole or not at all."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: a line that was accepted survives the death of this process.
        self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        self.offset = 0

    def continue_from(self, offset: int) -> bool:
        """Drops everything after ``offset``, or after the last whole line before it.

        Returns:
            Whether the file held all of ``offset`` bytes.
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
        """Writes one line after ``offset``; what another run left there is dropped.

        Raises:
            OSError: the line could not be written whole (a full disk); the file then ends with the line before.
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
