"""Functions that say before their first call that they are compiled, and after it how long that took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax

from dreamjax.training.runtime import devices, memory
from dreamjax.training.runtime.background_compiler import Ready
from dreamjax.types import Batch, TrainState

Say = Callable[[str], None]


def announced(name: str, fn: Callable[..., Any], say: Say, ready: Ready | None = None) -> Callable[..., Any]:
    """``fn``, with what its first call does told by ``say``; that call waits for ``ready`` (``ahead.compile_ahead``)."""
    told = False

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal told
        if told:
            return fn(*args, **kwargs)
        told = True
        say(f"compiling {name} ...")
        start = time.monotonic()
        taken = ready() if ready is not None else 0.0
        result = fn(*args, **kwargs)
        say(f"compiled {name} in {max(taken, time.monotonic() - start):.1f} s")
        return result

    return call


def announced_update(
    phase: str, update: devices.Update, num_devices: int, say: Say, ready: Ready | None = None
) -> devices.Update:
    """``update``, announced, and telling after its first call what it takes of the device's memory."""
    call, told = announced(f"{phase} for {num_devices} x {jax.devices()[0].device_kind}", update, say, ready), False

    def first(state: TrainState, batch: Batch) -> Any:
        nonlocal told
        if told:
            return call(state, batch)
        told = True
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (state, batch))
        result = call(state, batch)
        taken = devices.temporary_bytes(update, *shapes)
        if taken is not None:
            say(f"{phase} takes {memory.gigabytes(taken)} of device memory beside its state")
        return result

    return first
