"""The environment with faults, as the fake agent sees it; ``tests.training.faulty:Faulty-v0`` for what takes ids only."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from tests.helpers import scripted


class Counting(gymnasium.Wrapper):
    """``count``, the step within the episode, of ``scripted.FaultyEnv``."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(scripted.FaultyEnv(**kwargs))
        self.observation_space = spaces.Dict({"count": spaces.Box(-1, 1e10, (1,), np.float32)})
        self.action_space = spaces.Discrete(5)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, info = self.env.reset(seed=seed, options=options)
        return {"count": observation[1:]}, info

    def step(self, action: Any) -> Any:
        observation, *rest = self.env.step(action)
        return {"count": observation[1:]}, *rest


if "Faulty-v0" not in gymnasium.registry:
    gymnasium.register("Faulty-v0", Counting)
