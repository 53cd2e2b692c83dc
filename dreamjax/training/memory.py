"""What a run needs of host and device memory, beside what there is.

Importing this module does not import JAX: ``configure`` must run before that.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dreamjax.config import ConfigError, ParallelConfig


def configure(parallel: ParallelConfig) -> None:
    """Tells XLA how much of a GPU it may take; what the user's environment already says stands."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", str(parallel.memory_fraction))
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "true" if parallel.preallocate else "false")


def tree_bytes(tree: Any) -> int:
    """Bytes of the arrays (or shapes) of a tree; keys count as their data."""
    import jax
    import jax.numpy as jnp

    def nbytes(x: Any) -> int:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.eval_shape(jax.random.key_data, x)
        return int(x.size) * x.dtype.itemsize

    return sum(nbytes(leaf) for leaf in jax.tree.leaves(tree))


def parameter_count(params: Any) -> int:
    """Numbers in a tree of parameters."""
    import jax

    return sum(int(leaf.size) for leaf in jax.tree.leaves(params))


def host_available() -> int | None:
    """Bytes of host memory that can still be taken: the system's, within the control group's limit; None if unknown."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        pass
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            found.append(int(limit) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return min(found) if found else None


def device_available() -> int | None:
    """Bytes XLA may take on the first device; None where the backend does not tell (CPUs)."""
    import jax

    stats = jax.local_devices()[0].memory_stats()
    return stats.get("bytes_limit") if stats else None


def check_replay(needed: int, capacity: int, available: int | None) -> None:
    """Raises ConfigError if a replay of ``needed`` bytes cannot fit, naming a capacity that would."""
    if available is not None and needed > available:
        fits = int(capacity * available / needed * 0.8)
        raise ConfigError(
            f"replay.capacity={capacity} is not allowed: it needs {gigabytes(needed)} of host memory, "
            f"{gigabytes(available)} are available; replay.capacity={fits} would fit"
        )


def gigabytes(count: int | None) -> str:
    """``count`` bytes for people."""
    if count is None:
        return "unknown"
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def report(state: Any, replay_bytes: int) -> str:
    """One line: parameters, optimiser and the rest on the device, replay on the host, and what is available.

    Args:
        state: a ``TrainState`` (or its shapes). replay_bytes: bytes of the replay when full.
    """
    params = parameter_count(state.params)
    used = {
        "parameters": tree_bytes(state.params) + tree_bytes(state.slow_critic),
        "optimiser": tree_bytes(state.opt_state),
        "imagined rollouts": tree_bytes(state.ring),
    }
    parts = ", ".join(f"{name} {gigabytes(size)}" for name, size in used.items() if size)
    host = host_available()
    device = device_available() or host  # a CPU device lives in the host's memory
    return (
        f"{params:,} parameters. Device: {parts} of {gigabytes(device)} (activations come on top). "
        f"Host: replay {gigabytes(replay_bytes)} of {gigabytes(host)}."
    )
