"""Memory that a run needs on the host and on each device, and memory that is available.

A run that cannot fit is refused before anything is allocated, so activations are estimated from the traced update. XLA's
own figure (``memory_analysis``) is exact but exists only once the update is compiled: waiting for that would cost the
half minute that compiling in the background saves, and on several devices it would compile the update twice. The
estimate decides, by ``ESTIMATE_MARGIN``; XLA's figure is logged as soon as it is there.

Importing this module does not import JAX: ``configure`` must run before that.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dreamjax.config import ConfigError, ParallelConfig

# Share of the estimate of activations that is taken for certain. XLA's figure was 0.9 to 1.5 times the estimate on CPU;
# fusion may save up to half of it elsewhere.
ESTIMATE_MARGIN = 0.5


def configure(parallel: ParallelConfig) -> None:
    """Tells XLA how much of a GPU it may take; what the user's environment already says stands."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", str(parallel.memory_fraction))
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def tree_bytes(tree: Any) -> int:
    """Bytes of the arrays (or shapes) of a tree; keys count as their data."""
    import jax

    from dreamjax.algorithms.randomness import is_key

    def nbytes(x: Any) -> int:
        if is_key(x):
            x = jax.eval_shape(jax.random.key_data, x)
        return int(x.size) * x.dtype.itemsize

    return sum(nbytes(leaf) for leaf in jax.tree.leaves(tree))


def parameter_count(params: Any) -> int:
    """Numbers in a tree of parameters."""
    import jax

    return sum(int(leaf.size) for leaf in jax.tree.leaves(params))


def host_available(root: Path = Path("/")) -> int | None:
    """Bytes of host memory that can still be taken: the system's, within the control groups' limits; None if unknown.

    Args:
        root: of the file system that holds ``proc`` and ``sys``.
    """
    found = []
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        pass
    for group in _control_groups(root):
        # Version 2, then 1; "max" and version 1's 2^63 mean that there is no limit.
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            try:
                found.append(int((group / limit).read_text()) - int((group / used).read_text()))
            except (OSError, ValueError):
                continue
    return max(min(found), 0) if found else None


def _control_groups(root: Path) -> Iterator[Path]:
    """Folders of the groups this process is in, each group's parents included, of version 2 and of version 1."""
    tops = (root / "sys/fs/cgroup", root / "sys/fs/cgroup/memory")
    yield from tops  # inside a container its own group is mounted here, whatever /proc says
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            top, group = tops[controllers == "memory"], Path(path.strip().lstrip("/"))
            yield from (top / part for part in (group, *group.parents) if part != Path())


def device_available() -> int | None:
    """Bytes that XLA may take on the first device; None where the backend does not say (CPUs)."""
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


def batch_shapes(spec: Any, size: int, length: int, *, latents: Any = None) -> Any:
    """A ``Batch`` of shapes, as replay gives it.

    Args:
        spec: ``EnvSpec`` of the environment. size, length: B and T.
        latents: an ``RSSMState`` of ``[1, ...]`` shapes where latents are kept.
    """
    import jax
    import numpy as np

    from dreamjax.types import Batch

    def of(shape: tuple[int, ...], dtype: Any) -> Any:
        return jax.ShapeDtypeStruct((size, *shape), jax.dtypes.canonicalize_dtype(dtype))

    action = spec.action
    return Batch(
        obs={name: of((length, *entry.shape), entry.dtype) for name, entry in spec.obs.items()},
        action=of((length, action.record_size), action.record_dtype),
        reward=of((length,), np.float32),
        is_first=of((length,), bool),
        is_last=of((length,), bool),
        is_terminal=of((length,), bool),
        row=of((), np.int32),
        prev_action=of((action.record_size,), action.record_dtype),
        context=jax.tree.map(lambda x: of(x.shape[1:], x.dtype), latents),
    )


class MemoryEstimate(NamedTuple):
    """Bytes that a run takes: ``replay`` on the host, the others on each device."""

    parameters: int
    optimizer: int
    rollouts: int
    activations: int
    replay: int

    @property
    def state(self) -> int:
        """What stays on a device between updates."""
        return self.parameters + self.optimizer + self.rollouts


def estimate(state: Any, *, activations: int, replay: int) -> MemoryEstimate:
    """Adds up a ``TrainState`` (or its shapes), bytes of activations, and bytes of the replay when full."""
    return MemoryEstimate(
        parameters=tree_bytes(state.params) + tree_bytes(state.slow_critic),
        optimizer=tree_bytes(state.opt_state),
        rollouts=tree_bytes(state.ring),
        activations=activations,
        replay=replay,
    )


def activation_bytes(jaxpr: Any) -> int:
    """Estimate of a program's greatest temporary memory in bytes, as if its operations ran in order, unfused.

    Args:
        jaxpr: of the program (``jax.jit(fn).trace(...).jaxpr`` or ``jax.make_jaxpr(fn)(...)``). Scans count what they
            keep of all steps, as their outputs, and what one step holds at once.
    """
    return _peak(getattr(jaxpr, "jaxpr", jaxpr))


def _peak(jaxpr: Any) -> int:
    last_use = {}
    for i, eqn in enumerate([*jaxpr.eqns, None]):
        for var in jaxpr.outvars if eqn is None else eqn.invars:
            if not hasattr(var, "val"):  # a literal
                last_use[var] = i
    held: dict[Any, int] = {}
    now = greatest = 0
    for i, eqn in enumerate(jaxpr.eqns):
        within = max((_peak(inner) - _bytes_of(inner.outvars) for inner in _inner(eqn)), default=0)
        for var in eqn.outvars:
            if var in last_use:
                held[var] = _bytes_of([var])
                now += held[var]
        greatest = max(greatest, now + max(within, 0))
        for var in {var for var in (*eqn.invars, *eqn.outvars) if not hasattr(var, "val")}:
            if last_use.get(var) == i:
                now -= held.pop(var, 0)
    return greatest


def _inner(eqn: Any) -> Iterator[Any]:
    """Programs within an operation: bodies of scans, compiled functions and the like."""
    for value in eqn.params.values():
        for entry in value if isinstance(value, tuple | list) else (value,):
            program = getattr(entry, "jaxpr", entry)
            if hasattr(program, "eqns"):
                yield program


def _bytes_of(variables: Any) -> int:
    return sum(
        tree_bytes(var.aval) for var in {id(var): var for var in variables}.values() if hasattr(var.aval, "size")
    )


def check_device(needed: MemoryEstimate, batch_size: int, *, on_host: bool, available: int | None) -> None:
    """Raises ConfigError if the state or the batch cannot fit, naming a batch size that would.

    Activations are an estimate, of which ``ESTIMATE_MARGIN`` is taken for certain: a run that might fit is not refused.

    Args:
        needed: by the run. batch_size: ``Config.batch_size``. on_host: whether the device's memory is the host's, so that
            the replay takes its share of it. available: bytes of that memory, None if unknown.
    """
    if available is None:
        return
    left = available - needed.state - (needed.replay if on_host else 0)
    if left < 0:
        raise ConfigError(
            f"model is not allowed: its parameters and optimizer need {gigabytes(needed.state)} of device memory, "
            f"{gigabytes(left + needed.state)} are available; smaller model.deter, model.units or replay.capacity would fit"
        )
    if needed.activations * ESTIMATE_MARGIN > left:
        fits = int(batch_size * left / needed.activations)
        raise ConfigError(
            f"batch_size={batch_size} is not allowed: an update needs about {gigabytes(needed.activations)} of device "
            f"memory for activations, {gigabytes(left)} are available; batch_size={fits} would fit, and so would a "
            f"greater optimizer.accumulate or a smaller batch_length"
        )


def trim() -> None:
    """Returns freed memory to the system (glibc only): compiling leaves half a gigabyte behind."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def statistics() -> dict[str, float]:
    """Memory in use now, as metrics: ``memory/host_rss`` of this process, and the first device's where it is known."""
    import jax

    found: dict[str, float] = {}
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        found["memory/host_rss"] = float(pages * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, IndexError):
        pass
    stats = jax.local_devices()[0].memory_stats() or {}
    names = {"bytes_in_use": "memory/device_bytes_in_use", "peak_bytes_in_use": "memory/device_peak_bytes"}
    return found | {names[name]: float(value) for name, value in stats.items() if name in names}


def report(count: int, needed: MemoryEstimate) -> str:
    """One line: what devices and host will hold, and what is available.

    Args:
        count: numbers in all parameters. needed: by the run.
    """
    parts = {
        "parameters": needed.parameters,
        "optimizer": needed.optimizer,
        "imagined rollouts": needed.rollouts,
        "activations about": needed.activations,
    }
    device = ", ".join(f"{name} {gigabytes(size)}" for name, size in parts.items() if size)
    host = host_available()
    there = device_available()
    where = f"{gigabytes(there)}" if there is not None else f"the host's {gigabytes(host)}"
    replay = gigabytes(needed.replay)
    return f"{count:,} parameters. Device: {device} of {where}. Host: replay {replay} of {gigabytes(host)}."
