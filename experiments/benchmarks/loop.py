"""How much of a run is updates: the training loop and the bare update, in turns within one process."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from dreamjax.config import Config
from experiments.benchmarks.measuring import Row, row

CHUNK = 10  # updates of the loop in each turn
BARE = 3  # bare updates in each turn


class Turns:
    """Asked by the trainer before every vector step whether to stop; takes the time, and makes turns of the bare update."""

    def __init__(self, repeats: int) -> None:
        self._repeats = repeats
        self.trainer: Any = None
        self.loop: list[tuple[float, int, int]] = []  # seconds, updates, environment steps
        self.bare: list[float] = []  # seconds of one update
        self.asked_to_stop = 0.0
        self._began: tuple[float, int, int] | None = None
        self._update: Any = None

    def __call__(self) -> bool:
        import jax

        trainer = self.trainer
        if trainer is None or trainer.schedule.updates < 2:
            return False
        if self._began is None:
            self._prepare()
        else:
            seconds, updates, steps = self._began
            if trainer.schedule.updates - updates < CHUNK:
                return False
            jax.block_until_ready(trainer.state.step)
            taken = time.perf_counter() - seconds
            self.loop.append((taken, trainer.schedule.updates - updates, trainer.step - steps))
        self.bare.append(self._bare())
        if len(self.loop) == self._repeats:
            self.asked_to_stop = time.perf_counter()
            return True
        self._began = time.perf_counter(), trainer.schedule.updates, trainer.step
        return False

    def _prepare(self) -> None:
        """The trainer's own update for a state and a batch of its own."""
        import jax

        from dreamjax.training.runtime import devices
        from dreamjax.training.updates import compile_update

        trainer = self.trainer
        config = trainer.config
        self._update = compile_update(trainer.agent.update, 1)
        self._state = jax.tree.map(lambda x: x.copy(), trainer.state)
        batch, _ = trainer.buffer.sample(config.batch_size, config.batch_length)
        self._batch = devices.place(batch, 1)
        self._bare()

    def _bare(self) -> float:
        import jax

        times = []
        for _ in range(BARE):
            began = time.perf_counter()
            self._state = jax.block_until_ready(self._update(self._state, self._batch)[0])
            times.append(time.perf_counter() - began)
        return statistics.median(times)


def measure_loop(config: Config, repeats: int) -> list[Row]:
    """Rows of the benchmark: a run of ``config`` with everything but evaluations, its checkpoint at the end.

    The share is that of bare updates, just before and after, in the time of the loop; checkpoints are added as
    often as the configuration writes them.
    """
    from dreamjax.training.trainer import Trainer

    config = dataclasses.replace(
        config,
        total_steps=10**12,
        eval=dataclasses.replace(config.eval, every=0),
        log=dataclasses.replace(config.log, dream_every=0),
        parallel=dataclasses.replace(config.parallel, num_devices=1),
    )
    turns = Turns(repeats)
    # What a run says belongs to no table.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        trainer = Trainer(config, Path(folder) / "run", stop=turns)
        turns.trainer = trainer
        try:
            trainer.run()
            checkpoint = time.perf_counter() - turns.asked_to_stop
        finally:
            trainer.close()
    return rows_of(turns.loop, turns.bare, checkpoint, config.checkpoint.every)


def rows_of(
    loop: list[tuple[float, int, int]], bare: list[float], checkpoint: float, checkpoint_every: int
) -> list[Row]:
    """Rows from turns of the loop ``(seconds, updates, environment steps)`` and of the bare update around them.

    Args:
        bare: seconds of one update, before the first turn and after each.
        checkpoint: seconds of one checkpoint. checkpoint_every: environment steps between two.
    """
    shares, with_checkpoints, in_loop = [], [], []
    for i, (seconds, updates, steps) in enumerate(loop):
        expected = updates * (bare[i] + bare[i + 1]) / 2
        shares.append(100 * expected / seconds)
        with_checkpoints.append(100 * expected / (seconds + checkpoint * steps / checkpoint_every))
        in_loop.append(seconds / updates)
    rates = [steps / seconds for seconds, _, steps in loop]
    return [
        row("updates in the loop's time", shares, "%"),
        row("the same with checkpoints", with_checkpoints, "%", checkpoint_s=checkpoint),
        row("loop, one update and all around it", in_loop, "s"),
        row("update alone", bare, "s"),
        row("environment steps of the loop", rates, "steps/s"),
    ]
