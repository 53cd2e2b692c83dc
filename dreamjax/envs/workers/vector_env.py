"""A vector environment over spawned worker processes that survives crashes, hangs and exceptions.

Each worker hosts several environments and steps them one after another. If an environment fails, its stream continues:

- The broken episode is truncated: its last observation is returned again with reward 0, and ``info["broken"]`` is True.
  The next observation comes from a reset.
- An exception breaks only the episode of its environment, which is then rebuilt. A crash, or a step that takes longer
  than ``timeout``, breaks the episodes of all environments of the process, which is then restarted.
- A result that no record can hold (``dreamjax.envs.single``) raises ``EnvError`` at once, as it does without workers.
- Each failure counts as a restart of its worker and is reported by a warning with the traceback from inside the worker,
  also for a hang. If the number of restarts exceeds ``max_restarts``, ``EnvError`` is raised.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.util
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate

from dreamjax.envs.checks import EnvError
from dreamjax.envs.single import Selection
from dreamjax.envs.workers.process import Reply, serve
from dreamjax.seeds import derived_seed

START_TIMEOUT = 120.0  # seconds for imports and construction, on a busy machine


class _Worker:
    """A handle of a worker process, which is started again after a crash or a hang.

    Args:
        factory: pickled function that makes one environment.
        indices: the environments that the worker hosts.
        stacks: the file to which the worker writes tracebacks of crashes and hangs.
        selection: the observation entries that it sends.
    """

    def __init__(self, factory: bytes, indices: list[int], stacks: Path, selection: Selection) -> None:
        self.indices = indices
        self.restarts = 0
        self._factory, self._stacks, self._selection = factory, stacks, selection
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, child = context.Pipe()
        arguments = (child, self._factory, self.indices, str(self._stacks), self._selection)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        child.close()

    def send(self, command: str, payload: Any = None) -> None:
        with contextlib.suppress(OSError):  # `receive` reports a process that has ended
            self.connection.send((command, payload))

    def receive(self, deadline: float) -> Any:
        """Returns the next answer; raises ``_WorkerError`` with the traceback after a crash or a hang."""
        try:
            if self.connection.poll(max(0.0, deadline - time.monotonic())):
                return self.connection.recv()
        except (EOFError, OSError):
            self.process.join(5)
            raise _WorkerError(f"crashed (exit code {self.process.exitcode})\n{self._stack()}") from None
        if hasattr(signal, "SIGUSR1") and self.process.pid is not None and self.process.is_alive():
            os.kill(self.process.pid, signal.SIGUSR1)
            time.sleep(0.2)  # the fault handler writes the traceback
        raise _WorkerError(f"did not answer in time\n{self._stack()}")

    def _stack(self) -> str:
        text = self._stacks.read_text() if self._stacks.exists() else ""
        return text.strip() or "(no traceback)"

    def kill(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join(5)


_Command = tuple[Any, ...]  # ("step", action) or ("reset", seed, options)


class _WorkerError(Exception):
    """A worker crashed or hung."""


class WorkerVectorEnv(VectorEnv):
    """A Gymnasium vector environment (NEXT_STEP autoreset) over worker processes; the module describes failures.

    Args:
        factory: makes one environment; pickled by cloudpickle.
        num_envs: N, distributed evenly over the workers.
        workers: number of processes; at most ``num_envs`` are started.
        timeout: seconds within which a worker must step or reset all its environments.
        max_restarts: number of failures allowed per worker.
        seed: base seed of environments that are rebuilt after a failure; None leaves them unseeded.
        selection: the observation entries that are taken; of the others only a constant is left. None: all.

    Raises:
        EnvError: if an environment cannot be built, or the environments differ in their spaces.
    """

    def __init__(
        self,
        factory: Callable[[], gymnasium.Env],
        num_envs: int,
        *,
        workers: int,
        timeout: float = 60.0,
        max_restarts: int = 3,
        seed: int | None = None,
        selection: Selection | None = None,
    ) -> None:
        self.num_envs, self._timeout, self._max_restarts, self._seed = num_envs, timeout, max_restarts, seed
        self._directory = tempfile.TemporaryDirectory(prefix="dreamjax-workers-")
        pickled = cloudpickle.dumps(factory)
        groups = np.array_split(np.arange(num_envs), min(workers, num_envs))
        self._workers: list[_Worker] = []
        self._finalize = multiprocessing.util.Finalize(self, _end, args=(self._workers,), exitpriority=10)
        self._ended = np.zeros(num_envs, bool)
        self._failures = np.zeros(num_envs, np.int64)  # by environment; rebuilt ones are seeded by it
        self._rebuilt = np.zeros(num_envs, bool)  # rebuilt and not reset since
        self._last_obs: list[Any] = [None] * num_envs
        try:
            for number, indices in enumerate(groups):
                stacks = Path(self._directory.name, f"{number}.txt")
                self._workers.append(_Worker(pickled, indices.tolist(), stacks, selection or Selection()))
            for worker in self._workers:
                worker.send("spaces")  # before the first answer is read, so that the workers build in parallel
            built = [spaces for worker in self._workers for spaces in self._receive_spaces(worker)]
            if any(spaces[:2] != built[0][:2] for spaces in built):
                raise EnvError("the environments of the workers differ in their spaces")
        except BaseException:
            self.close_extras()
            raise
        self.single_observation_space, self.single_action_space, metadata, self.render_mode = built[0]
        self.metadata = {**metadata, "autoreset_mode": AutoresetMode.NEXT_STEP}
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Resets all environments; an integer seeds environment i by ``seed + i``."""
        if isinstance(seed, int | np.integer):
            self._seed = int(seed)
            seeds: list[int | None] = [int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = [None] * self.num_envs if seed is None else list(seed)
        observation, _, _, _, infos = self._batch(self._reset({i: seeds[i] for i in range(self.num_envs)}, options))
        return observation, infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Steps all environments and resets those whose episode has ended; rewards are float64 ``[N]``."""
        rows = list(iterate(self.action_space, actions))
        ended = np.flatnonzero(self._ended).tolist()
        commands: dict[int, _Command] = {i: ("step", rows[i]) for i in range(self.num_envs)}
        commands |= {i: ("reset", self._fresh_seed(i), None) for i in ended}
        replies = self._exchange(commands)
        replies |= self._reset({i: None for i in ended if replies[i].kind != "ok"})
        for i, reply in replies.items():
            if reply.kind != "ok":
                replies[i] = Reply("ok", self._last_obs[i], truncated=True, info={"broken": True})
        return self._batch(replies)

    def render(self) -> tuple[Any, ...]:
        """Returns one frame per environment."""
        for worker in self._workers:
            worker.send("render")
        deadline = time.monotonic() + self._timeout
        return tuple(frame for worker in self._workers for frame in worker.receive(deadline))

    def close_extras(self, **kwargs: Any) -> None:
        """Ends the worker processes."""
        self._finalize()
        self._directory.cleanup()

    def _reset(self, seeds: dict[int, int | None], options: dict[str, Any] | None = None) -> dict[int, Reply]:
        """Resets some environments; those that fail are reset again with other seeds."""
        replies: dict[int, Reply] = {}
        pending = dict(seeds)
        while pending:
            wanted = {i: self._fresh_seed(i) if seed is None else seed for i, seed in pending.items()}
            replies |= self._exchange({i: ("reset", seed, options) for i, seed in wanted.items()})
            pending = {i: None for i in pending if replies[i].kind != "ok"}
        return replies

    def _fresh_seed(self, i: int) -> int | None:
        """Returns a seed for a rebuilt environment, which must not repeat the episodes of its predecessor; else None."""
        if self._seed is None or not self._rebuilt[i]:
            return None
        return derived_seed(self._seed, i, int(self._failures[i]))

    def _exchange(self, commands: dict[int, _Command]) -> dict[int, Reply]:
        """Sends each environment its command, restarts workers that fail, and returns the replies of any kind."""
        commanded = [(worker, [i for i in worker.indices if i in commands]) for worker in self._workers]
        commanded = [(worker, mine) for worker, mine in commanded if mine]
        for worker, mine in commanded:
            worker.send("answer", [(worker.indices.index(i), *commands[i]) for i in mine])
        deadline = time.monotonic() + self._timeout
        replies: dict[int, Reply] = {}
        for worker, mine in commanded:
            try:
                answers = worker.receive(deadline)
            except _WorkerError as error:
                self._restart(worker, f"its process {error}")
                answers = [Reply("lost")] * len(mine)
            replies |= dict(zip(mine, answers, strict=True))
            for i, reply in zip(mine, answers, strict=True):
                if reply.kind == "error":
                    self._failed(worker, [i], f"environment {i} raised\n{reply.message.strip()}")
                elif reply.kind == "ok" and commands[i][0] == "reset":
                    self._rebuilt[i] = False
        for reply in replies.values():
            if reply.kind == "invalid":
                raise EnvError(reply.message)
        return replies

    def _failed(self, worker: _Worker, indices: list[int], message: str) -> None:
        """Counts one failure of the environments ``indices`` and warns about it."""
        self._failures[indices] += 1
        self._rebuilt[indices] = True
        worker.restarts += 1
        if worker.restarts > self._max_restarts:
            raise EnvError(f"more than max_restarts={self._max_restarts} restarts of one worker: {message}")
        count = f"restart {worker.restarts} of at most {self._max_restarts}"
        warnings.warn(f"worker of environments {worker.indices}: {count}: {message}", RuntimeWarning, stacklevel=4)

    def _restart(self, worker: _Worker, message: str) -> None:
        worker.kill()
        while True:
            self._failed(worker, worker.indices, message)
            worker.start()
            worker.send("spaces")
            try:
                self._receive_spaces(worker)
                return
            except EnvError as error:
                worker.kill()
                message = str(error)

    def _receive_spaces(self, worker: _Worker) -> list[tuple[Any, ...]]:
        """Returns spaces, metadata and render mode of each environment of a new worker."""
        try:
            replies = worker.receive(time.monotonic() + START_TIMEOUT)
        except _WorkerError as error:
            raise EnvError(f"a worker process could not build its environments: it {error}") from None
        for reply in replies:
            if reply.kind == "error":
                raise EnvError(f"the environment cannot be made; in the worker:\n{reply.message.strip()}")
        return [reply.observation for reply in replies]

    def _batch(self, replies: dict[int, Reply]) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        rows = [replies[i] for i in range(self.num_envs)]
        self._last_obs = [reply.observation for reply in rows]
        terminated = np.array([reply.terminated for reply in rows])
        truncated = np.array([reply.truncated for reply in rows])
        self._ended = terminated | truncated
        infos: dict[str, Any] = {}
        for i, reply in enumerate(rows):
            infos = self._add_info(infos, reply.info or {}, i)
        space = self.single_observation_space
        empty: Any = create_empty_array(space, self.num_envs)
        observation = concatenate(space, self._last_obs, empty)
        return observation, np.array([reply.reward for reply in rows]), terminated, truncated, infos


def _end(workers: list[_Worker]) -> None:
    """Ends the processes; also called when the interpreter exits with open environments."""
    for worker in workers:
        worker.send("close")
    deadline = time.monotonic() + 2.0
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        worker.kill()
    workers.clear()
