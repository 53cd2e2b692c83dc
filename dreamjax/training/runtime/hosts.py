"""The processes of one run: what they exchange on the host, and how a run ends when one of them is lost.

Gradients and percentiles are averaged on the devices (``training.updates``). What the loops have to agree on (whether to
stop, which checkpoint, that all of it is written) goes through the coordinator's key-value store, independently of what
the devices are doing. Every process must make the same calls in the same order.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax

from dreamjax.config import Config, ConfigError, ReplayConfig
from dreamjax.seeds import derived_seed
from dreamjax.training.runtime.devices import check_divisible

LOG = logging.getLogger(__name__)
HEARTBEAT = 30  # seconds without a sign of life after which a process counts as lost, and the others end
SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
_FAILED = "dreamjax/failed"


class ProcessLost(RuntimeError):
    """Another process of the run has failed or cannot be reached; the message says which where it is known."""


class Settings(NamedTuple):
    """How a process joins a run; all None: by what SLURM sets."""

    coordinator: str | None
    num_processes: int | None
    process_id: int | None


def settings(
    coordinator: str | None, num_processes: int | None, process_id: int | None, environ: Mapping[str, str] = os.environ
) -> Settings | None:
    """What the flags, or SLURM's environment where there are none, say about this process; None: there is only one.

    Raises:
        ConfigError: some but not all three flags are given, or a value cannot be.
    """
    given = Settings(coordinator, num_processes, process_id)
    if all(value is None for value in given):
        several = all(name in environ for name in SLURM) and int(environ["SLURM_NTASKS"]) > 1
        return given if several else None
    if coordinator is None or num_processes is None or process_id is None:
        raise ConfigError(
            "distributed.coordinator, distributed.num_processes and distributed.process_id go together: "
            f"got {coordinator!r}, {num_processes!r}, {process_id!r}"
        )
    if not coordinator.rpartition(":")[0] or not coordinator.rpartition(":")[2].isdigit():
        raise ConfigError(f"distributed.coordinator={coordinator!r} is not allowed: must be HOST:PORT")
    if num_processes < 1:
        raise ConfigError(f"distributed.num_processes={num_processes} is not allowed: must be 1 or more")
    if not 0 <= process_id < num_processes:
        raise ConfigError(f"distributed.process_id={process_id} is not allowed: must lie in [0, {num_processes})")
    return given


def join(given: Settings | None, *, timeout: int = 300) -> None:
    """Joins the processes of one run; call before anything touches a device.

    Raises:
        ConfigError: the others did not come within ``timeout`` seconds, or the coordinator cannot be reached.
    """
    if given is None:
        return
    # Its notifier would take SIGTERM from the run, which stops by its own agreement.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            *given,
            cluster_detection_method="slurm" if given.coordinator is None else "deactivate",
            initialization_timeout=timeout,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=2 * HEARTBEAT,
        )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"distributed: the {given.num_processes} processes did not meet: {error}") from error


class Group:
    """The processes of this run; one, unless several joined.

    Attributes:
        count, index: how many there are, and which this one is. Process 0 is primary: it writes what there is once.
    """

    def __init__(self) -> None:
        self.count, self.index = jax.process_count(), jax.process_index()
        self._round = 0

    @property
    def is_primary(self) -> bool:
        return self.index == 0

    def gather(self, value: Any) -> list[Any]:
        """``value`` (anything JSON can hold) of every process, by process; waits until all have called.

        Raises:
            ProcessLost: one has said that it failed, or the coordinator is gone.
        """
        if self.count == 1:
            return [value]
        self._round += 1
        client = _client()
        client.key_value_set(f"dreamjax/{self._round}/{self.index}", json.dumps(value))
        found = [json.loads(self._wait(i)) for i in range(self.count)]
        if self._round > 1:  # everyone has come to this round, so everyone has read the one before
            client.key_value_delete(f"dreamjax/{self._round - 1}/{self.index}")
        return found

    def broadcast(self, value: Any) -> Any:
        """Process 0's ``value``, in every process; what the others pass is ignored."""
        return self.gather(value if self.is_primary else None)[0]

    def any_process(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """``stop``, true in every process where it is true in any."""
        return stop if self.count == 1 else lambda: any(self.gather(bool(stop())))

    def failure(self) -> str | None:
        """The reason that a failed process left."""
        try:
            return _client().key_value_try_get(_FAILED)
        except jax.errors.JaxRuntimeError:
            return None

    def _wait(self, index: int) -> str:
        """What process ``index`` passed in this round. JAX ends this process where the other one's heartbeat stops; the
        warning before that names it (waiting for process 0 is usual: it plays the evaluations)."""
        for second in itertools.count(1):
            if index and second == HEARTBEAT // 2:
                LOG.warning("process %d waits for process %d, which may be lost", self.index, index)
            try:
                # In slices, so that signal handlers run.
                return _client().blocking_key_value_get(f"dreamjax/{self._round}/{index}", 1000)
            except jax.errors.JaxRuntimeError as error:
                reason = self.failure()
                if reason is not None:
                    raise ProcessLost(reason) from error
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise ProcessLost(f"the coordinator cannot be reached: {error}") from error
        raise AssertionError

    def abort(self, code: int) -> NoReturn:
        """Ends this process at once and says so to the others; a normal exit waits for all of them."""
        if self.count > 1:
            self._announce(f"process {self.index} ended with exit code {code}")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def _announce(self, reason: str) -> None:
        try:
            _client().key_value_set(_FAILED, reason)
            if self.is_primary:
                time.sleep(3)  # the coordinator lives here: the others still read why
        except jax.errors.JaxRuntimeError:
            pass  # another one failed before


def _client() -> Any:
    from jax._src import distributed  # JAX has no public way to its key-value store; Orbax takes this one too

    return distributed.global_state.client


def is_connection(error: Exception) -> bool:
    """Whether an error of the devices says that another process cannot be reached."""
    text = str(error).lower()
    return any(sign in text for sign in ("gloo", "nccl", "connection", "unavailable", "heartbeat"))


class Share(NamedTuple):
    """One process's part of a run: environments, windows of its replay, and its seed."""

    num_envs: int
    replay: ReplayConfig
    seed: int


def share(config: Config, group: Group) -> Share:
    """Splits environments and replay evenly. Process 0 has the run's seed, process I one derived from both.

    Raises:
        ConfigError: the environments do not split.
    """
    if config.num_envs % group.count:
        raise ConfigError(f"num_envs={config.num_envs} is not allowed: must be a multiple of {group.count} processes")
    num_envs = config.num_envs // group.count
    capacity = config.replay.capacity // config.num_envs * num_envs if group.count > 1 else config.replay.capacity
    replay = dataclasses.replace(config.replay, capacity=capacity, min_size=min(config.replay.min_size, capacity))
    derived = derived_seed(config.seed, group.index)
    return Share(num_envs, replay, derived if group.index else config.seed)


def check_layout(config: Config, group: Group, num_devices: int) -> None:
    """Batches split over processes, devices and micro-batches; every process has the same number of devices.

    Args:
        num_devices: of this process, ``parallel.device_count``.

    Raises:
        ConfigError: they do not, or have not.
    """
    there = group.gather(num_devices)
    if len(set(there)) > 1:
        raise ConfigError(
            f"parallel.num_devices={config.parallel.num_devices} is not allowed: the processes have {there} devices"
        )
    sizes = {"batch_size": config.batch_size}
    if config.schedule.kind == "plan":
        sizes["schedule.imagination_batch_size"] = config.schedule.imagination_batch_size
    for name, size in sizes.items():
        check_divisible(name, size, group.count * num_devices * config.optimizer.accumulate)


def check_shared(path: Path, group: Group) -> None:
    """Raises ConfigError unless all processes see the work directory that process 0 has locked."""

    def read() -> str | None:
        try:
            return (path / "lock.owner").read_text()
        except OSError:
            return None

    locked = group.broadcast(read())
    seen = group.gather(read())  # only now: the others may have come here before process 0 had locked it
    others = [i for i, text in enumerate(seen) if text != locked]
    if others:
        raise ConfigError(f"--workdir={path} is not allowed: processes {others} see another directory than process 0")
