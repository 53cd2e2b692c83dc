"""Compiled programs on disk, so that the next run of a command or script need not compile them again.

Importing this module does not import JAX.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

CACHE_BYTES = 2 << 30  # of compiled programs; an update of size 1m takes about 1 MiB


def enable() -> None:
    """Keeps compiled programs in the user's cache folder. Settings in the environment take precedence.

    Must run before JAX compiles its first program. In the user's cache folder at most ``CACHE_BYTES`` are kept.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dreamjax" / "jax"
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        drop_oldest(folder, CACHE_BYTES)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
    if (jax := sys.modules.get("jax")) is not None:  # it reads the environment when it is imported
        if jax.config.jax_compilation_cache_dir is None:
            jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
        seconds = float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"])
        jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)


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
