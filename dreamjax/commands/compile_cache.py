"""Compiled programs on disk, so that the next run of a command need not compile them again.

Importing this module does not import JAX.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

CACHE_BYTES = 2 << 30  # of compiled programs; an update of size 1m takes about 1 MiB


def enable() -> None:
    """Keeps compiled programs in the user's cache folder. Settings in the environment take precedence.

    Must run before JAX is imported. In the user's cache folder at most ``CACHE_BYTES`` are kept.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dreamjax" / "jax"
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        drop_oldest(folder, CACHE_BYTES)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


def drop_oldest(folder: Path, limit: int) -> None:
    """Removes the oldest files until the others hold at most ``limit`` bytes.

    JAX's own bound needs a further package. Files that another process removes or still writes are skipped.
    """
    found = []
    for file in folder.glob("*") if folder.is_dir() else ():
        with contextlib.suppress(OSError):
            found.append((file.stat().st_mtime, file.stat().st_size, file))
    kept = 0
    for _, size, file in sorted(found, reverse=True):
        kept += size
        if kept > limit:
            with contextlib.suppress(OSError):
                file.unlink()
