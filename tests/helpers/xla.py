"""Settings of JAX for tests. Imports nothing, so that they can be made before JAX is imported."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

# XLA options that compile a large program in a quarter of the time. It then runs slower, which tests do not notice.
QUICK: dict[str, int | bool] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_parallel_codegen_split_count": 1,  # as many parts as threads cost a fifth more
}
if tuple(int(part) for part in version("jaxlib").split(".")[:2]) < (0, 11):
    QUICK["xla_cpu_use_fusion_emitters"] = False  # later versions refuse the name
QUICK_FLAGS = " ".join(f"--{name}={str(value).lower()}" for name, value in QUICK.items())  # the same for XLA_FLAGS


def set_environment(cache: Path | None = None) -> None:
    """Run on the CPU and keep every compiled program, in ``cache`` where the environment names no other directory.

    Settings of the environment that exist stay. Processes that a test starts inherit them.
    """
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    if cache is not None:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
