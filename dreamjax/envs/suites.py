"""Environments of packages that do not register them with Gymnasium.

The ids are ``dreamjax.envs.suites:ID``; docs/environments.md lists them with the packages to install.
"""

from __future__ import annotations

import importlib
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

MINATAR = {"Asterix": "asterix", "Breakout": "breakout", "Freeway": "freeway", "Seaquest": "seaquest"} | {
    "SpaceInvaders": "space_invaders"
}


class Crafter(gymnasium.Env):
    """Crafter with Gymnasium's API: death is a termination, the time limit a truncation.

    Args:
        render_mode: "rgb_array" or None.
        kwargs: of ``crafter.Env`` (``size``, ``length`` in steps, ``reward``).
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, render_mode: str | None = None, **kwargs: Any) -> None:
        self._make, self._kwargs, self.render_mode = importlib.import_module("crafter").Env, kwargs, render_mode
        self._env = self._make(seed=0, **kwargs)
        self.observation_space = spaces.Box(0, 255, self._env.observation_space.shape, np.uint8)
        self.action_space = spaces.Discrete(self._env.action_space.n)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; a seed starts the sequence of worlds anew."""
        super().reset(seed=seed)
        if seed is not None:
            self._env = self._make(seed=seed, **self._kwargs)
        return self._env.reset(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Steps; the info has the achievements so far."""
        observation, reward, ended, info = self._env.step(int(action))
        dead = info["discount"] == 0
        return observation, float(reward), ended and dead, ended and not dead, {"achievements": info["achievements"]}

    def render(self) -> np.ndarray | None:
        """Returns the picture of the observation in 256 x 256."""
        return self._env.render((256, 256)) if self.render_mode == "rgb_array" else None


def _register() -> None:
    wanted: dict[str, tuple[Any, dict[str, Any]]] = {"Crafter-v0": (Crafter, {})}
    for name, game in MINATAR.items():
        for version, minimal in (("v0", False), ("v1", True)):
            kwargs = {"game": game, "use_minimal_action_set": minimal}
            wanted[f"MinAtar/{name}-{version}"] = ("minatar.gym:BaseEnv", kwargs)
    for name, (entry, kwargs) in wanted.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=entry, kwargs=kwargs)


_register()
