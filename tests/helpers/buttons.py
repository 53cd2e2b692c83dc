"""An environment with several actions and entries, in an order that can be reversed, and a module that can be missing."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


def ordered(entries: dict[str, spaces.Space]) -> spaces.Dict:
    """A Dict space that keeps the order."""
    result = spaces.Dict()
    result.spaces = dict(entries)
    return result


class ButtonsEnv(gymnasium.Env):
    """Reward 1 where ``up`` is 1, ``down`` 0 and ``turn`` above 0; 5 steps. ``flip`` reverses both spaces."""

    def __init__(self, flip: bool = False, without: str = "", render_mode: str | None = None) -> None:
        actions = {"up": spaces.Discrete(2), "down": spaces.Discrete(2), "turn": spaces.Box(-2, 2, (1,), np.float32)}
        box = spaces.Box(-1, 1, (2,), np.float32)
        entries: dict[str, spaces.Space] = {"a": spaces.Dict(b=box), "a_b": box}
        actions.pop(without, None)
        entries.pop(without, None)
        turn = (lambda x: dict(reversed(x.items()))) if flip else dict
        self.action_space, self.observation_space = ordered(turn(actions)), ordered(turn(entries))
        self.render_mode, self.at = render_mode, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = 0
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at += 1
        good = int(action["up"]) == 1 and int(action["down"]) == 0 and float(action["turn"][0]) > 0
        return self.observe(), float(good), self.at == 5, False, {}

    def observe(self) -> Any:
        x = np.full(2, self.at / 10, np.float32)
        return {name: {"b": x} if name == "a" else -x for name in self.observation_space.spaces}


gymnasium.register("Buttons-v0", entry_point=ButtonsEnv)
