"""Reports a run on the terminal, in ``metrics.jsonl``, in TensorBoard and in Weights & Biases."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from dreamjax.reporting import wandb_run
from dreamjax.reporting.metrics import MetricsFile

# Additional TensorBoard tags for some metrics.
PLAN_TAGS = {
    "episode/return": "Episode/Real_Reward",
    "imagination/return": "Episode/Imagined_Reward",
    "train/world_model_loss": "Training/World_Model_Loss",
}
# Labels of a progress line, each with the names of its metric; the first known name is shown.
SHOWN = (
    ("world model", ("train/world_model_loss",)),
    ("actor", ("train/loss/actor", "train/loss/policy")),
    ("critic", ("train/loss/critic", "train/loss/value")),
    ("imagined return", ("imagination/return",)),
    ("lines", ("episode/lines",)),
    ("return", ("episode/return",)),
    ("evaluated lines", ("eval/lines_mean",)),
)
SMOOTHING = 0.7  # weight of the past in the moving average of steps per second
RESERVED = ("step", "update", "wall_time", "nonfinite")


LOG = logging.getLogger("dreamjax")


class LoggerState(TypedDict):
    """The logger's part of a checkpoint: bytes of metrics.jsonl, running time in seconds, the last logged step."""

    offset: int
    elapsed: float
    step: int


class Logger:
    """Reports one run. ``metrics`` and ``progress`` accept scalars of Python, NumPy and JAX.

    Until ``close``, records of the standard logger "dreamjax" are shown too: information on the console with the running
    time, warnings and errors on standard error. Without a ``Logger`` the package shows only warnings and errors, like
    any library.

    Times come from a monotonic clock, so that changes of the system clock affect neither rates nor ``wall_time``, the
    running time of the run including earlier sessions.

    Args:
        workdir: the folder of ``metrics.jsonl`` and ``tensorboard/``.
        total_steps: environment steps of the whole run.
        tensorboard: whether to write TensorBoard events.
        terminal_every: seconds between progress lines.
        console: the console for lines of text; None: standard output.
        clock: returns seconds; must be monotonic.
        wandb: project of Weights & Biases to log to as well; "": none.
        config: the run's configuration, for Weights & Biases.

    Raises:
        ConfigError: Weights & Biases is wanted and cannot start; see ``wandb_run.start``.
    """

    def __init__(
        self,
        workdir: str | Path,
        *,
        total_steps: int,
        tensorboard: bool,
        terminal_every: float,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        wandb: str = "",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._workdir = Path(workdir)
        self._total_steps = total_steps
        self._tensorboard = tensorboard
        self._every = terminal_every
        self._clock = clock
        self._console = console or Console(markup=False, highlight=False, soft_wrap=True)
        self._wandb = wandb_run.start(wandb, self._workdir, config or {}) if wandb else None
        self._file = MetricsFile(self._workdir / "metrics.jsonl")
        self._writer: Any = None
        self._bar: Progress | None = None
        self._start = clock()
        self._before = 0.0
        self._last_step = -1
        self._lost_lines = 0
        self._shown: dict[str, float] = {}
        self._mark: tuple[float, int, int] | None = None
        self._rate: float | None = None
        self._warm = False
        self._handler = _TerminalHandler(self)
        self._handler.attach()

    @property
    def elapsed(self) -> float:
        """Running time in seconds, including earlier sessions."""
        return self._before + self._clock() - self._start

    def info(self, text: str) -> None:
        """Prints a line with the running time on the console."""
        self._print(f"[{_duration(self.elapsed)}] {text}")

    def metrics(self, step: int, update: int, values: Mapping[str, Any]) -> None:
        """Writes one line of ``metrics.jsonl`` and the same scalars to TensorBoard and Weights & Biases.

        If the file cannot be written (a full disk), the run continues, and a line on the terminal reports it.

        Raises:
            ValueError: if a name is reserved or a value is not a scalar.
        """
        scalars = _scalars(values)
        self._shown.update(scalars)
        record = {"step": int(step), "update": int(update), "wall_time": round(self.elapsed, 3), **scalars}
        try:
            self._file.append(record)
        except OSError as error:
            if not self._lost_lines:
                self.info(f"cannot write {self._file.path}: {error.strerror}; lines are lost until it can be written")
            self._lost_lines += 1
        else:
            if self._lost_lines:
                self.info(f"{self._file.path} can be written again; {self._lost_lines} lines were lost")
            self._lost_lines = 0
        if self._tensorboard:
            self._write_events(int(step), scalars)
        if self._wandb is not None:
            self._wandb.log(record)
        self._last_step = max(self._last_step, int(step))

    def progress(self, step: int, update: int, values: Mapping[str, Any]) -> bool:
        """Prints a progress line, at most every ``terminal_every`` seconds.

        Rates are averages since the previous line. The remaining time is estimated from a moving average of steps per
        second, which starts after the first line with updates, since that includes compilation. Metrics that are not in
        ``values`` are shown as last passed to ``metrics`` or ``progress``.

        Returns:
            Whether a line was printed.
        """
        now = self._clock()
        if self._mark is None:
            self._mark = (now, step, update)
        seconds = now - self._mark[0]
        if seconds < self._every and step < self._total_steps:
            return False
        self._shown.update(_scalars(values))
        parts = [f"{step:,}/{self._total_steps:,} steps {min(step / self._total_steps, 1):4.0%}"]
        if seconds > 0:
            rate = (step - self._mark[1]) / seconds
            parts.append(f"{rate:,.0f} steps/s")
            if self._warm:
                self._rate = rate if self._rate is None else SMOOTHING * self._rate + (1 - SMOOTHING) * rate
            if update > self._mark[2]:
                parts.append(f"{(update - self._mark[2]) / seconds:,.1f} updates/s")
                self._warm = True
        for label, names in SHOWN:
            name = next((name for name in names if name in self._shown), None)
            if name is not None and not (label == "return" and "episode/lines" in self._shown):
                parts.append(f"{label} {self._shown[name]:.4g}")
        if self._rate and step < self._total_steps:
            parts.append(f"{_duration((self._total_steps - step) / self._rate)} left")
        self._print(f"[{_duration(self.elapsed)}] " + " · ".join(parts), completed=step)
        self._mark = (now, step, update)
        return True

    def state_dict(self) -> LoggerState:
        """Returns the position as numbers that JSON can represent."""
        return {"offset": self._file.offset, "elapsed": self.elapsed, "step": self._last_step}

    def load_state_dict(self, state: LoggerState) -> None:
        """Resumes from a checkpoint: drops later lines of ``metrics.jsonl`` and invalidates later TensorBoard events.

        Without this call, the first ``metrics`` replaces the file, so that no step is logged twice.
        """
        if not self._file.continue_from(int(state["offset"])):
            self.info(f"{self._file.path} is shorter than the checkpoint says: lines of earlier steps are missing")
        self._before, self._start = float(state["elapsed"]), self._clock()
        self._last_step = int(state["step"])
        self._mark, self._rate, self._warm = None, None, False

    def close(self) -> None:
        """Stops the progress bar and closes all files and Weights & Biases; nothing can be logged afterwards."""
        self._handler.detach()
        if self._bar is not None:
            self._bar.stop()
        if self._writer is not None:
            self._writer.close()
        self._file.close()
        if self._wandb is not None:  # last: it may wait for the network
            self._wandb.finish()

    def _print(self, text: str, *, completed: int | None = None) -> None:
        if self._console.is_terminal and completed is not None and self._bar is None:
            # Redrawn only when a line is printed, so it needs no thread.
            self._bar = Progress(
                BarColumn(bar_width=None), TextColumn("{task.percentage:.0f}%"), console=self._console,
                auto_refresh=False, transient=True,
            )  # fmt: skip
            self._bar.add_task("steps", total=self._total_steps)
            self._bar.start()
            self._console.show_cursor(True)  # rich hides the cursor, and a killed run could not restore it
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        if self._bar is not None and completed is not None:
            self._bar.update(self._bar.task_ids[0], completed=completed, refresh=True)
        self._console.file.flush()

    def _write_events(self, step: int, scalars: Mapping[str, float]) -> None:
        if self._writer is None:
            from tensorboardX import SummaryWriter  # takes a second to import

            resumed = self._last_step >= 0
            self._writer = SummaryWriter(
                str(self._workdir / "tensorboard"), purge_step=self._last_step + 1 if resumed else 0, flush_secs=10
            )
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
            if name in PLAN_TAGS:
                self._writer.add_scalar(PLAN_TAGS[name], value, step)


class NullLogger:
    """A logger that writes nothing, for processes that are not primary."""

    def metrics(self, step: int, update: int, values: Mapping[str, Any]) -> None:
        """Writes nothing."""

    def progress(self, step: int, update: int, values: Mapping[str, Any]) -> bool:
        """Prints nothing."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """An empty position."""
        return {}

    def load_state_dict(self, state: Any) -> None:
        """Restores nothing."""

    def close(self) -> None:
        """Closes nothing."""


class _TerminalHandler(logging.Handler):
    """Shows records of the "dreamjax" logger with a ``Logger``.

    While it is attached, records do not propagate, so that handlers of the root logger do not repeat them.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def attach(self) -> None:
        self._before = LOG.level, LOG.propagate
        for other in [handler for handler in LOG.handlers if isinstance(handler, _TerminalHandler)]:
            LOG.removeHandler(other)  # a handler of a logger that was not closed
            self._before = other._before
        LOG.setLevel(logging.INFO)
        LOG.propagate = False
        LOG.addHandler(self)

    def detach(self) -> None:
        if self in LOG.handlers:
            LOG.removeHandler(self)
            LOG.setLevel(self._before[0])
            LOG.propagate = self._before[1]

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno < logging.WARNING:
            self._logger.info(text)
        else:
            print(f"{record.levelname.lower()}: {text}", file=sys.stderr, flush=True)


def _scalars(values: Mapping[str, Any]) -> dict[str, float]:
    result = {}
    for name, value in values.items():
        if name in RESERVED:
            raise ValueError(
                f"a metric cannot be called {name!r}: the name is reserved, must be none of {', '.join(RESERVED)}"
            )
        array = np.asarray(value)
        if array.size != 1:
            raise ValueError(f"metric {name!r} has shape {array.shape}: must be a single number")
        result[name] = float(array.reshape(()))
    return result


def _duration(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
