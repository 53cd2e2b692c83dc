"""Asking a run to stop: Ctrl-C and SIGTERM set a flag that the loop reads between steps."""

from __future__ import annotations

import signal
from types import FrameType


class Stop:
    """A flag that signals set; a second SIGINT interrupts at once, for when a step hangs."""

    def __init__(self) -> None:
        self.signal: str | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    def install(self) -> Stop:
        """Takes over SIGINT and SIGTERM of this process."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number).name
