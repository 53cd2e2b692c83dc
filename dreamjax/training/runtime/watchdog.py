"""Calls into environments of this process that hang: a warning, and, beyond a limit, the end of the process.

A worker process can be killed and restarted (``dreamjax.envs.workers``). A call that hangs in this process cannot: it may
hold the main thread for ever, so that no exception reaches it. Another thread watches it; only the main thread saves, so
that no checkpoint is being written then.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

LOG = logging.getLogger(__name__)
_Call = tuple[float, Callable[[], str], int]  # start, name, thread


class Watchdog:
    """Watches one call at a time and logs a warning where it takes long.

    Args:
        patience: seconds after which a warning is logged; again after twice, four times, ... as many.
        limit: seconds after which ``end`` is called, from a thread of its own; 0: never.
        end: takes the reason, once.
        clock: seconds.
    """

    def __init__(
        self,
        *,
        patience: float,
        limit: float,
        end: Callable[[str], Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience, self._limit, self._end, self._clock = patience, limit, end, clock
        self._call: _Call | None = None
        self._seen: _Call | None = None  # the call seen at the last check
        self._next = patience  # seconds after which to warn (again)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def over(self, name: Callable[[], str]) -> Iterator[None]:
        """Around the call that may hang; ``name`` says, while it runs, what hangs."""
        self._call = self._clock(), name, threading.get_ident()
        try:
            yield
        finally:
            self._call = None

    def close(self) -> None:
        """Stops watching."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        period = max(min(self._patience, self._limit or self._patience) / 10, 0.02)
        while not self._closed.wait(period):
            self.look()

    def look(self) -> None:
        """Checks the call under way, as the thread does periodically."""
        call = self._call
        if call is not self._seen:
            self._seen, self._next = call, self._patience
        if call is None:
            return
        began, name, thread = call
        seconds = self._clock() - began
        ends = 0 < self._limit <= seconds
        if not ends and seconds < self._next:
            return
        text = f"{name()} has not answered for {seconds:.0f} s, at {_place(thread)}"
        if self._call is not call:  # it has answered meanwhile
            return
        if ends:
            self._closed.set()
            self._end(f"{text}: env.abort_after={self._limit:g} s are over")
        else:
            LOG.warning(text)
            self._next *= 2


def _place(thread: int) -> str:
    """File, line and function that a thread is in."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return "an unknown place"
    last = traceback.extract_stack(frame)[-1]
    return f"{last.filename}:{last.lineno} in {last.name}"
