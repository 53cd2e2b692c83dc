"""One update function on one device (``jit``), on several (``pmap``), and across processes.

The state is replicated without a leading device axis, the batch is split over devices: the callers see the same
function in all cases, and the numbers agree because randomness folds by the batch's global ``row``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dreamjax.config import ConfigError
from dreamjax.training.calls import several
from dreamjax.types import Batch, Metrics, ReplayOuts, TrainState

AXIS = "device"
T = TypeVar("T")
Update = Callable[[TrainState, Batch], tuple[TrainState, Metrics, ReplayOuts]]


def device_count(num_devices: int) -> int:
    """Resolves ``parallel.num_devices`` (0: all local devices).

    Raises:
        ConfigError: more devices are asked for than there are.
    """
    there = jax.local_device_count()
    if num_devices > there:
        raise ConfigError(
            f"parallel.num_devices={num_devices} is not allowed: this machine has {there} "
            f"{jax.default_backend()} device{'s' if there > 1 else ''}"
        )
    return num_devices or there


def check_divisible(name: str, size: int, parts: int) -> None:
    """Raises ConfigError unless ``size`` splits into ``parts`` (known only now where ``num_devices=0``)."""
    if size % parts:
        raise ConfigError(
            f"{name}={size} is not allowed: must be a multiple of "
            f"processes x parallel.num_devices x optimiser.accumulate = {parts}"
        )


def make_update(fn: Callable[..., Any], num_devices: int, *, count: int = 1, always_map: bool = False) -> Update:
    """Compiles ``fn(state, batch, axis_name=...)`` for ``num_devices`` local devices of every process.

    In a run of several processes all must call it in step, each with its part of the global batch and the same state;
    what comes back is the new state, and ``outs`` of that part.

    Args:
        count: updates of one call; above 1 batches, metrics and ``outs`` have a leading axis of that length.
        always_map: by ``pmap`` on one device too, to compare.

    Returns:
        ``(state, batch [B, T, ...]) -> (state, metrics, outs [B, T, ...])``. ``state`` is donated: use the new one.
        ``B`` must be a multiple of ``num_devices``.

    Raises:
        ConfigError: there are fewer devices.
    """
    num_devices = device_count(num_devices)
    if count > 1:
        fn = several(fn)
    if num_devices == jax.process_count() == 1 and not always_map:
        return jax.jit(fn, donate_argnums=0)
    mapped = jax.pmap(
        partial(fn, axis_name=AXIS),
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=(None, None, 0),
        donate_argnums=0,
        devices=[device for i in range(jax.process_count()) for device in jax.local_devices(i)[:num_devices]],
    )

    def split(x: Any) -> Any:
        if count == 1:
            return x.reshape(num_devices, -1, *x.shape[1:])
        return x.reshape(count, num_devices, -1, *x.shape[2:]).swapaxes(0, 1)

    def join(x: Any) -> Any:
        if count > 1:
            x = x.swapaxes(0, 1)
            return x.reshape(count, -1, *x.shape[3:])
        return x.reshape(-1, *x.shape[2:])

    def update(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics, ReplayOuts]:
        state, metrics, outs = mapped(state, jax.tree.map(split, batch))
        if jax.default_backend() == "cpu":
            # Its few threads run programs of all devices: one that waits for another process must not have the next ones,
            # such as these reshapes, wait in its way. Two processes on two cores stood still for ever.
            jax.block_until_ready((state, metrics, outs))
        return state, metrics, jax.tree.map(join, outs)

    return update


def jaxpr_of(update: Any, fn: Callable[..., Any], state: Any, batch: Any, num_devices: int) -> Any:
    """The program that one device runs, from shapes of the state and of the whole batch.

    Args:
        update: ``make_update(fn, num_devices)``; on one device its first call reuses this trace.
    """
    if hasattr(update, "trace"):
        return update.trace(state, batch).jaxpr
    share = jax.tree.map(lambda x: jax.ShapeDtypeStruct((x.shape[0] // num_devices, *x.shape[1:]), x.dtype), batch)
    return jax.make_jaxpr(fn)(state, share)


def temporary_bytes(update: Any, state: Any, batch: Any) -> int | None:
    """Bytes that the compiled update takes beside its arguments, from shapes; None where that would compile it anew."""
    if not hasattr(update, "lower"):  # on several devices
        return None
    stats = update.lower(state, batch).compile().memory_analysis()
    return stats.temp_size_in_bytes if stats is not None else None


def once(fn: Callable[..., T]) -> Any:
    """``jax.jit(fn)`` for a single run: on CPUs, where that takes a third of the time, without optimisations."""
    quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    if jax.__version_info__ < (0, 11):
        quick["xla_cpu_use_fusion_emitters"] = False  # later versions refuse the name
    return jax.jit(fn, compiler_options=quick if jax.default_backend() == "cpu" else None)


def replicate(state: T, num_devices: int) -> T:
    """A state on every local device the update runs on, as the update gives it back (so that it is compiled once)."""
    if num_devices == jax.process_count() == 1:
        return jax.device_put(state)
    mesh = Mesh(np.asarray(jax.local_devices()[:num_devices]), (AXIS,))
    return jax.device_put(state, NamedSharding(mesh, PartitionSpec()))


def place(batch: T, num_devices: int) -> T:
    """Starts the batch's way to the device; several devices take their parts from the host when they run."""
    return jax.device_put(batch) if num_devices == jax.process_count() == 1 else batch


def local(tree: T) -> T:
    """A replicated tree as arrays of the first device, without copying or gathering."""

    def first(x: Any) -> Any:
        return x.addressable_shards[0].data if isinstance(x, jax.Array) and len(x.devices()) > 1 else x

    return jax.tree.map(first, tree)
