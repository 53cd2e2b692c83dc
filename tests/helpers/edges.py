"""Environments at the edge of Gymnasium's API. No jax and nothing of pytest here: worker processes import this module."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Number:
    """A number of another library: only ``__array__``."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.value, dtype or np.float32)


class Edge(gymnasium.Env):
    """Seven steps; observation ``[0, step]``, reward the action. Each argument replaces what step 2 returns of a name."""

    def __init__(self, space: spaces.Space | None = None, render_mode: str | None = None, **replaced: Any) -> None:
        self.observation_space = space or spaces.Box(-1e6, 1e6, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.render_mode, self.replaced, self.t = render_mode, replaced, 0

    def returned(self, name: str, value: Any) -> Any:
        return self.replaced.get(name, value) if self.t == 2 else value

    def observe(self) -> Any:
        return self.returned("observation", np.full(self.observation_space.shape, self.t, self.observation_space.dtype))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        self.t += 1
        results = self.observe(), float(action), self.t == 7, False, {}
        names = ("observation", "reward", "terminated", "truncated", "info")
        return tuple(self.returned(name, value) for name, value in zip(names, results, strict=True))  # type: ignore


class OldReset(Edge):
    """``reset`` returns the observation alone, ``step`` four values."""

    def reset(self, **kwargs: Any) -> Any:
        return super().reset(**kwargs)[0]

    def step(self, action: Any) -> Any:
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, info


class OldStep(Edge):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, info


class NoSeed(Edge):
    def reset(self) -> Any:  # type: ignore[override]
        return self.observe(), {}


class LateMask(Edge):
    """The mask is in the infos of steps from ``begin`` on, not in that of the reset; a step tests that it was obeyed."""

    def __init__(self, begin: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.action_space, self.begin, self.mask = spaces.Discrete(4), begin, np.ones(4, np.int8)

    def reset(self, **kwargs: Any) -> Any:
        self.mask = np.ones(4, np.int8)
        return super().reset(**kwargs)

    def step(self, action: Any) -> Any:
        assert self.mask[int(action)], f"illegal action {action} at step {self.t}"
        observation, _, *rest, info = super().step(action)
        if self.t >= self.begin:
            self.mask = np.eye(4, dtype=np.int8)[self.t % 4]
            info = {"action_mask": self.mask}
        return observation, 0.0, *rest, info


class Alone(Edge):
    """A process may have only one at a time."""

    alive = 0

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if Alone.alive:
            raise RuntimeError("the port is taken")
        Alone.alive += 1

    def close(self) -> None:
        Alone.alive = 0


IDS = {
    "EdgeAlone": (Alone, {}),
    "EdgeRewardNone": (Edge, {"reward": None}),
    "EdgeRewardNan": (Edge, {"reward": float("nan")}),
    "EdgeRewardArray": (Edge, {"reward": np.array([1.0])}),
    "EdgeFits": (Edge, {"space": spaces.Box(0, 9, (2, 3), np.uint8), "observation": np.full((2, 3), 4)}),
    "EdgeTooLarge": (Edge, {"space": spaces.Box(0, 9, (2, 3), np.uint8), "observation": np.full((2, 3), 300)}),
    "EdgeOldReset": (OldReset, {}),
    "EdgeOldStep": (OldStep, {}),
    "EdgeNoSeed": (NoSeed, {}),
    "EdgeLateMask": (LateMask, {}),
    "EdgeLaterMask": (LateMask, {"begin": 3}),
}
for _name, (_cls, _kwargs) in IDS.items():
    if f"{_name}-v0" not in gymnasium.registry:
        gymnasium.register(f"{_name}-v0", entry_point=_cls, kwargs=_kwargs)
