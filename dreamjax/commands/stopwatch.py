"""The time that the calls of a function take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Stopwatch:
    """A function whose calls are timed, waiting for each result. The first call, which compiles, is not counted.

    Attributes:
        calls, seconds: how many calls were counted, and their time.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self._started = function, False
        self.calls, self.seconds = 0, 0.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function."""
        import jax

        start = time.perf_counter()
        result = jax.block_until_ready(self._function(*args, **kwargs))
        if self._started:
            self.seconds += time.perf_counter() - start
            self.calls += 1
        self._started = True
        return result

    @property
    def mean(self) -> float:
        """Seconds of a call; 0 where none was counted."""
        return self.seconds / max(self.calls, 1)
