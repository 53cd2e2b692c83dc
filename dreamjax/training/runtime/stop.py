"""Stopping a run: Ctrl-C and SIGTERM set a flag that the loop reads between steps."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any


class Stop:
    """A flag that signals set; a second SIGINT interrupts at once, for when a step hangs.

    As a context manager it handles SIGINT and SIGTERM of this process, and restores the handlers at its end.
    """

    def __init__(self) -> None:
        self.signal: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        return self.signal is not None

    def __enter__(self) -> Stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number).name
