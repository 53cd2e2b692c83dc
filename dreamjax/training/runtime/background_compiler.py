"""Programs that are compiled before they are needed, beside what the run does meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dreamjax.training.runtime import memory

Ready = Callable[[], float]  # waits until a program is ready; the seconds that took to compile


class Ahead:
    """Compiles jitted functions in threads of their own: XLA does not hold Python's lock.

    A function finds its program when it is then called with such arguments (of these shapes, not placed on a device by
    name). Called before its program is ready it would compile it once more: wait first.

    Args:
        on: False leaves compiling to the first call.
    """

    def __init__(self, on: bool) -> None:
        self._on = on

    def begin(self, fn: Any, *shapes: Any, **static: Any) -> Ready | None:
        """Begins to compile ``fn`` (of ``jax.jit``) for arguments of these shapes; None where nothing was begun."""
        if not self._on or not hasattr(fn, "lower"):
            return None
        pool = ThreadPoolExecutor(1)
        future = pool.submit(_compile, fn.lower(*shapes, **static))
        pool.shutdown(wait=False)
        return future.result


def _compile(lowered: Any) -> float:
    began = time.monotonic()
    lowered.compile()
    memory.trim()
    return time.monotonic() - began
