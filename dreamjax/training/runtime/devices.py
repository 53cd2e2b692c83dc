"""Arrays on one device or several: device counts, replication, placement and reading back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dreamjax.config import ConfigError

AXIS = "device"  # the axis that updates are mapped over
T = TypeVar("T")


def device_count(num_devices: int) -> int:
    """Resolves ``parallel.num_devices`` (0: all local devices).

    Raises:
        ConfigError: there are fewer devices than asked for.
    """
    available = jax.local_device_count()
    if num_devices > available:
        raise ConfigError(
            f"parallel.num_devices={num_devices} is not allowed: this machine has {available} "
            f"{jax.default_backend()} device{'s' if available > 1 else ''}"
        )
    return num_devices or available


def check_divisible(name: str, size: int, parts: int) -> None:
    """Raises ConfigError unless ``size`` splits into ``parts`` (known only now where ``num_devices=0``)."""
    if size % parts:
        raise ConfigError(
            f"{name}={size} is not allowed: must be a multiple of "
            f"processes x parallel.num_devices x optimizer.accumulate = {parts}"
        )


def jit_once(fn: Callable[..., T]) -> Any:
    """``jax.jit(fn)`` for a function that is called once: on CPUs it is compiled without optimizations, in a third of
    the time."""
    quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    if jax.__version_info__ < (0, 11):
        quick["xla_cpu_use_fusion_emitters"] = False  # later versions refuse the name
    return jax.jit(fn, compiler_options=quick if jax.default_backend() == "cpu" else None)


def replicate(state: T, num_devices: int) -> T:
    """The state on every local device that updates run on, placed as an update returns it (so that it compiles once)."""
    if num_devices == jax.process_count() == 1:
        return jax.device_put(state)
    mesh = Mesh(np.asarray(jax.local_devices()[:num_devices]), (AXIS,))
    return jax.device_put(state, NamedSharding(mesh, PartitionSpec()))


def place(batch: T, num_devices: int) -> T:
    """Starts to copy a batch to the device; several devices take their parts from the host when they run."""
    return jax.device_put(batch) if num_devices == jax.process_count() == 1 else batch


def local(tree: T) -> T:
    """A replicated tree as arrays of the first device, without copying or gathering."""

    def first(x: Any) -> Any:
        return x.addressable_shards[0].data if isinstance(x, jax.Array) and len(x.devices()) > 1 else x

    return jax.tree.map(first, tree)
