"""Numbers in the infos of environments, by name."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

from dreamjax.envs.infos import numbers


class Telling(gymnasium.Env):
    """Tells ``info`` in each step and nothing in resets."""

    observation_space, action_space = spaces.Box(-1, 1, (1,), np.float32), spaces.Discrete(2)

    def __init__(self, info: dict[str, Any]) -> None:
        self.info = info

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(1, np.float32), 0.0, False, False, self.info


def told(*infos: dict[str, Any]) -> dict[str, list[float]]:
    env = SyncVectorEnv([lambda info=info: Telling(info) for info in infos])
    env.reset()
    found = numbers(env.step(np.zeros(len(infos), np.int64))[-1], len(infos))
    return {name: [None if np.isnan(x) else x for x in values.tolist()] for name, values in found.items()}


def test_numbers_of_any_kind_by_name() -> None:
    info = {
        "success": np.bool_(True),
        "flag": False,
        "array": np.array([0.5]),
        "zero_d": np.array(2),
        "int": np.int8(3),
    }
    expected = {"success": [1, 1], "flag": [0, 0], "array": [0.5, 0.5], "zero_d": [2, 2], "int": [3, 3]}
    assert told(info, info) == expected


def test_nested_names_are_joined_and_absent_numbers_are_none() -> None:
    info = {"achievements": {"coal": 1, "tools": {"pick": 2.0}}, "done": np.True_}
    assert told(info, {}) == {"achievements/coal": [1, None], "achievements/tools/pick": [2, None], "done": [1, None]}


def test_texts_pictures_masks_and_what_wrappers_repeat_are_no_numbers() -> None:
    info = {
        "name": "room 3", "map": np.zeros((4, 4)), "nothing": None, "action_mask": np.ones(2, np.int8),
        "episode": {"r": 1.0, "l": 3}, "items": [1, 2],
    }  # fmt: skip
    assert told(info, info) == {}
