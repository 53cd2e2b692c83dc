"""Programs compiled before they are needed, while the run prepares the rest."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from dreamjax.training.runtime import memory

LOG = logging.getLogger(__name__)


class Compilation(NamedTuple):
    """Seconds that a program took to compile, and its temporary bytes where XLA reports them."""

    seconds: float
    temporary_bytes: int | None


Wait = Callable[[], Compilation]  # waits until a program is compiled; raises what compiling raised


class BackgroundCompiler:
    """Compiles jitted functions in threads of their own: XLA does not hold Python's lock.

    A function finds its program when it is then called with arguments of the same shapes that are not placed on a device
    by name. Called earlier it would compile a second time: wait first.

    Args:
        enabled: False leaves compiling to the first call.
    """

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled

    def submit(self, fn: Any, *shapes: Any, **static: Any) -> Wait | None:
        """Starts to compile ``fn`` (of ``jax.jit``) for arguments of these shapes; None where nothing was started."""
        if not self._enabled or not hasattr(fn, "lower"):
            return None
        pool = ThreadPoolExecutor(1)
        future = pool.submit(_compile, fn.lower(*shapes, **static))
        pool.shutdown(wait=False)
        return future.result


def _compile(lowered: Any) -> Compilation:
    start = time.monotonic()
    stats = lowered.compile().memory_analysis()
    memory.trim()
    return Compilation(time.monotonic() - start, None if stats is None else stats.temp_size_in_bytes)


def log_compilation(
    name: str, fn: Callable[..., Any], wait: Wait | None = None, *, with_memory: bool = False
) -> Callable[..., Any]:
    """``fn``, whose first call logs that it is compiled and how long that took.

    Args:
        wait: of ``BackgroundCompiler.submit``; the first call waits for it.
        with_memory: also log the memory that it takes, where that is known.
    """
    called = False

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal called
        if called:
            return fn(*args, **kwargs)
        called = True
        LOG.info("compiling %s ...", name)
        start = time.monotonic()
        compilation = wait() if wait is not None else Compilation(0.0, None)
        result = fn(*args, **kwargs)
        LOG.info("compiled %s in %.1f s", name, max(compilation.seconds, time.monotonic() - start))
        if with_memory and compilation.temporary_bytes is not None:
            LOG.info(
                "%s takes %s of device memory in addition to its state",
                name,
                memory.gigabytes(compilation.temporary_bytes),
            )
        return result

    return call
