"""Environments that follow a script: every observation, reward and end is known.

No jax and nothing of pytest here: worker processes import this module.
"""

from __future__ import annotations

import os
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

# (steps, whether the end is a termination); the list begins again when it runs out.
SCRIPTS = (
    ((3, True), (1, False), (4, False)),
    ((2, False), (2, True)),
    ((5, True),),
    ((1, True), (1, True), (1, False)),
)


class ScriptedEnv(gymnasium.Env):
    """Observation ``[env, episode, step]``; reward ``100 * episode + 10 * step + action``; ends as its script says.

    With ``masked``, ``info["action_mask"]`` forbids the action ``step % 3``.
    """

    def __init__(self, index: int = 0, masked: bool = False) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.index, self.masked, self.episode, self.at = index, masked, -1, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode, self.at = (0 if seed is not None else self.episode + 1), 0
        return self.observe(), self.info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at += 1
        script = SCRIPTS[self.index % len(SCRIPTS)]
        steps, terminal = script[self.episode % len(script)]
        assert self.at <= steps, "stepped beyond the end"
        end = self.at == steps
        reward = 100.0 * self.episode + 10 * self.at + int(action)
        return self.observe(), reward, end and terminal, end and not terminal, self.info()

    def observe(self) -> np.ndarray:
        return np.array([self.index, self.episode, self.at], np.float32)

    def info(self) -> dict[str, Any]:
        info: dict[str, Any] = {"lines": self.at * 2, "name": "text is not a number"}
        if self.at:
            info["cleared"] = 2
        if self.masked:
            info["action_mask"] = (np.arange(3) != self.at % 3).astype(np.int8)
        return info


class ScriptedVectorEnv(VectorEnv):
    """The same games as one vector environment that reuses its memory and gives ``final_obs`` as one array."""

    def __init__(self, num_envs: int, mode: AutoresetMode, masked: bool = False) -> None:
        self.num_envs, self.mode = num_envs, mode
        self.metadata = {"autoreset_mode": mode}
        self.games = [ScriptedEnv(i, masked) for i in range(num_envs)]
        self.single_observation_space = self.games[0].observation_space
        self.single_action_space = self.games[0].action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.memory = np.zeros((num_envs, 3), np.float32)
        self.ended = np.zeros(num_envs, bool)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        mask = np.ones(self.num_envs, bool) if options is None else options["reset_mask"]
        infos: dict[str, Any] = {}
        for i in np.flatnonzero(mask):
            self.memory[i], info = self.games[i].reset(seed=seed)
            infos = self._add_info(infos, info, int(i))
        self.ended[mask] = False
        return self.memory, infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        reward = np.zeros(self.num_envs)
        terminated, truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        final, infos = np.full_like(self.memory, np.nan), {}
        for i, game in enumerate(self.games):
            if self.ended[i]:
                assert self.mode is AutoresetMode.NEXT_STEP
                self.memory[i], info = game.reset()
                reward[i] = 77.0  # some environments give a reward here: the record must not
            else:
                self.memory[i], reward[i], terminated[i], truncated[i], info = game.step(actions[i])
                if self.mode is AutoresetMode.SAME_STEP and (terminated[i] or truncated[i]):
                    final[i] = self.memory[i]
                    infos = self._add_info(infos, {"final_info": info}, i)
                    self.memory[i], info = game.reset()
            infos = self._add_info(infos, info, i)
        self.ended = np.zeros_like(self.ended) if self.mode is AutoresetMode.SAME_STEP else terminated | truncated
        if self.mode is AutoresetMode.SAME_STEP and (terminated | truncated).any():
            infos["final_obs"] = final
        return self.memory, reward, terminated, truncated, infos


class SpaceEnv(gymnasium.Env):
    """Samples of any two spaces, for episodes of ``length`` steps; ``actions`` records the actions."""

    def __init__(
        self, observation_space: spaces.Space, action_space: spaces.Space | None = None, length: int = 4
    ) -> None:
        self.observation_space = observation_space
        self.action_space = action_space or spaces.Discrete(2)
        self.length, self.at, self.actions = length, 0, []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.at = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.actions.append(action)
        self.at += 1
        return self.observation_space.sample(), 1.0, False, self.at == self.length, {}


class FaultyEnv(gymnasium.Env):
    """Observation ``[episode's seed or 0, step]``; does ``fault`` at step ``at`` while the file ``token`` exists.

    The file makes a fault happen once: only the process that removes it has the fault. Faults: "raise", "exit",
    "hang", "nan", "inf_reward", "shape", "reset" (raises there), "limit" (terminates at a time limit of ``at``),
    "random" (ignores seeds), "bounds". Without a token the fault always happens.
    """

    def __init__(self, fault: str = "", at: int = 3, token: str = "", length: int = 6) -> None:
        self.observation_space = spaces.Box(-1, 1e10, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.fault, self.at, self.token, self.length = fault, at, token, length
        self.steps, self.value = 0, 0.0
        self.max_steps = at

    def due(self, fault: str) -> bool:
        if self.fault != fault:
            return False
        if not self.token:
            return True
        try:
            os.remove(self.token)
        except FileNotFoundError:
            return False
        return True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if self.due("reset"):
            raise RuntimeError("the reset went wrong")
        rng = np.random.default_rng() if self.fault == "random" else self.np_random
        self.steps, self.value = 0, float(rng.uniform())
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        reward, terminated, truncated = 1.0, False, self.steps == self.length
        if self.fault == "limit":
            terminated, truncated = self.steps == self.at, False
        observation = self.observe()
        if self.steps == self.at:
            if self.due("raise"):
                raise RuntimeError("the step went wrong")
            if self.due("exit"):
                os._exit(3)
            if self.due("hang"):
                hang_in_a_loop()
            if self.due("nan"):
                observation[1] = np.nan
            if self.due("inf_reward"):
                reward = np.inf
            if self.due("shape"):
                observation = np.zeros(5, np.float32)
            if self.due("bounds"):
                observation[1] = -7
        return observation, reward, terminated, truncated, {}

    def observe(self) -> np.ndarray:
        return np.array([self.value, self.steps], np.float32)


def hang_in_a_loop() -> None:
    time.sleep(600)


def register() -> None:
    """Registers ids for the environments."""
    for fault in ("", "nan", "shape", "limit", "random", "bounds", "raise"):
        name = f"Scripted{fault.title()}-v0"
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=FaultyEnv, kwargs={"fault": fault})


register()
