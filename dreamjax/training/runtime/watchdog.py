"""Environments of this process that hang: told, and, where a limit is set, ended with the process.

A worker process can be killed and begun anew (``dreamjax.envs.workers``). What hangs in this process cannot: it may hold
the main thread for ever, so that no exception reaches it. Another thread looks on; saving is the main thread's, so that
nothing is being saved then.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

_Call = tuple[float, Callable[[], str], int]  # when it began, its name, its thread


class Watchdog:
    """Looks on at one call at a time.

    Args:
        patience: seconds after which a call is told; again after twice, four times, ... as many.
        limit: seconds after which ``end`` is called, from a thread of its own; 0: never.
        say: takes a line. end: takes the reason, once; what it leaves running runs on.
        clock: seconds.
    """

    def __init__(
        self,
        *,
        patience: float,
        limit: float,
        say: Callable[[str], None],
        end: Callable[[str], Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience, self._limit, self._say, self._end, self._clock = patience, limit, say, end, clock
        self._call: _Call | None = None
        self._seen: _Call | None = None  # the call looked at last
        self._next = patience  # seconds after which to tell of it (again)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="watchdog", daemon=True)
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
        """Ends the looking on."""
        self._closed.set()
        self._thread.join()

    def _look_on(self) -> None:
        period = max(min(self._patience, self._limit or self._patience) / 10, 0.02)
        while not self._closed.wait(period):
            self.look()

    def look(self) -> None:
        """Looks at the call under way, as its thread does time and again."""
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
        if self._call is not call:  # it has, just now
            return
        if ends:
            self._closed.set()
            self._end(f"{text}: env.hang_limit={self._limit:g} s are over")
        else:
            self._say(text)
            self._next *= 2


def _place(thread: int) -> str:
    """File, line and function that a thread is in."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return "an unknown place"
    last = traceback.extract_stack(frame)[-1]
    return f"{last.filename}:{last.lineno} in {last.name}"
