"""The code of a worker process: it hosts environments and answers the commands of its parent."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle
import gymnasium

from dreamjax.envs.checks import EnvError
from dreamjax.envs.single import CheckedEnv, Selection


@dataclass
class Reply:
    """The reply of one environment.

    ``kind`` is "ok" (a transition), "error" (an exception, with its traceback as ``message``), "invalid" (a result that
    is refused, as ``message`` says) or "lost" (a step without a running episode).
    """

    kind: str
    observation: Any = None
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] | None = None
    message: str = ""


def serve(connection: Connection, factory: bytes, indices: list[int], stacks: str, selection: Selection) -> None:
    """Answers commands until "close" is received or the parent has ended.

    Args:
        connection: to the parent.
        factory: pickled function that makes one environment.
        indices: the environments to host.
        stacks: the file for tracebacks of crashes and, on SIGUSR1, of hangs.
        selection: the observation entries to send.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # a terminal signals the whole process group; the parent decides
        signal.signal(number, signal.SIG_IGN)
    stack_file = open(stacks, "w")  # noqa: SIM115 - stays open for the fault handler
    faulthandler.enable(stack_file)
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, stack_file)
    slots = [_Slot(factory, index, selection) for index in indices]
    with contextlib.suppress(EOFError, OSError):
        while True:
            command, payload = connection.recv()
            if command == "close":
                break
            if command == "spaces":
                connection.send([slot.spaces() for slot in slots])
            elif command == "render":
                connection.send([slot.render() for slot in slots])
            else:
                connection.send([slots[slot].answer(*arguments) for slot, *arguments in payload])
    for slot in slots:
        slot.close()


class _Slot:
    """One environment of a worker, built on first use and rebuilt after an exception."""

    def __init__(self, factory: bytes, index: int, selection: Selection) -> None:
        self._factory, self._index, self._selection = factory, index, selection
        self._env: gymnasium.Env | None = None
        self._running = False

    def _build(self) -> gymnasium.Env:
        if self._env is None:
            self._env = CheckedEnv(cloudpickle.loads(self._factory)(), self._index, self._selection)
        return self._env

    def spaces(self) -> Reply:
        try:
            env = self._build()
            return Reply("ok", (env.observation_space, env.action_space, env.metadata, env.render_mode))
        except Exception as error:
            return Reply("error", repr(error), message=traceback.format_exc())

    def answer(self, command: str, *arguments: Any) -> Reply:
        if command == "step" and not self._running:
            return Reply("lost")
        try:
            if command == "reset":
                seed, options = arguments
                observation, info = self._build().reset(seed=seed, options=options)
                self._running = True
                return Reply("ok", observation, info=info)
            observation, reward, terminated, truncated, info = self._build().step(*arguments)
            self._running = not (terminated or truncated)
            return Reply("ok", observation, float(reward), terminated, truncated, info)
        except EnvError as error:
            return Reply("invalid", message=str(error))
        except Exception:
            message = traceback.format_exc()
            self.close()
            return Reply("error", message=message)

    def render(self) -> Any:
        return None if self._env is None else self._env.render()

    def close(self) -> None:
        env, self._env, self._running = self._env, None, False
        if env is not None:
            with contextlib.suppress(Exception):
                env.close()
