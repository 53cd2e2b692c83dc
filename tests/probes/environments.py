"""Tiny environments that each ask one thing of a learner (in the manner of bsuite, Osband et al. 2020).

Observations are one-hot vectors or an index, episodes have 16 steps at most, the best return and random play's are known.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

Step = tuple[Any, float, bool, bool, dict[str, Any]]


def one_hot(index: int, size: int) -> np.ndarray:
    return np.eye(size, dtype=np.float32)[index]


class Probe(gymnasium.Env):
    """What the probes share: the number of steps taken, and a reset that calls ``begin`` and shows ``seen``."""

    steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        self.begin()
        return self.seen(), {}


class Cue(Probe):
    """Memory. One of two cues is shown at the reset alone; at each of eleven steps the action that was the cue earns 1, so
    that the last answer needs a memory of ten blank steps. Random play: 1/2 a step; without memory only the first step is
    better than that."""

    CUES, BLANK = 2, 10
    observation_space = spaces.Box(0, 1, (CUES + 1,), np.float32)
    action_space = spaces.Discrete(CUES)

    def begin(self) -> None:
        self.cue = int(self.np_random.integers(self.CUES))

    def seen(self) -> np.ndarray:
        return one_hot(self.CUES if self.steps else self.cue, self.CUES + 1)

    def step(self, action: int) -> Step:
        self.steps += 1
        return self.seen(), float(action == self.cue), self.steps > self.BLANK, False, {}


class Chain(Probe):
    """Exploration and credit. Each of eight states has a right action, not the same one everywhere, that leads to the
    next; the wrong one leads back to the start. Leaving the last state earns 1 and ends the episode; nothing else earns
    anything. An attempt at random succeeds once in 256; 16 steps are allowed."""

    RIGHT = (1, 0, 0, 1, 0, 1, 1, 0)
    LIMIT = 16
    observation_space = spaces.Box(0, 1, (len(RIGHT) + 1,), np.float32)
    action_space = spaces.Discrete(2)

    def begin(self) -> None:
        self.place = 0

    def seen(self) -> np.ndarray:
        return one_hot(self.place, len(self.RIGHT) + 1)

    def step(self, action: int) -> Step:
        self.steps += 1
        self.place = self.place + 1 if action == self.RIGHT[self.place] else 0
        end = self.place == len(self.RIGHT)
        return self.seen(), float(end), end, self.steps == self.LIMIT and not end, {}


class Fork(Probe):
    """A stochastic branch. Three doors: 0.4 for certain; a lottery of 2 with probability 1/8; a fork into one of two
    rooms at even odds, where the button of that room, and no other, earns 1.

    Taking the fork and looking earns 1. Believing in luck earns 0.25, not looking 0.5, avoiding chance 0.4.
    """

    START, SAFE, LOTTERY, ROOMS, END = 0, 0, 1, (1, 2), 3
    observation_space = spaces.Discrete(4)
    action_space = spaces.Discrete(3)

    def begin(self) -> None:
        self.room = self.START

    def seen(self) -> int:
        return self.room

    def step(self, action: int) -> Step:
        if self.room != self.START:
            reward = float(action == self.room)
        elif action == self.SAFE:
            reward = 0.4
        elif action == self.LOTTERY:
            reward = 2.0 * (self.np_random.random() < 1 / 8)
        else:
            self.room = self.ROOMS[int(self.np_random.integers(2))]
            return self.seen(), 0.0, False, False, {}
        self.room = self.END
        return self.seen(), reward, True, False, {}


class Scale(Probe):
    """Scale of rewards. Four states in random order; in each another of four actions earns ``scale``, for eight steps.

    Args:
        scale: of the reward; the best return is ``8 * scale``, that of random play ``2 * scale``.
    """

    RIGHT = (2, 0, 3, 1)
    LENGTH = 8
    observation_space = spaces.Discrete(4)
    action_space = spaces.Discrete(4)

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def begin(self) -> None:
        self.state = int(self.np_random.integers(4))

    def seen(self) -> int:
        return self.state

    def step(self, action: int) -> Step:
        self.steps += 1
        reward = self.scale * (action == self.RIGHT[self.state])
        self.begin()
        return self.seen(), reward, self.steps == self.LENGTH, False, {}


class Buttons(Probe):
    """Joint actions. Of eight buttons three, and none of the others, must be pressed together: 1 a step, for eight steps.
    Random play: 1/256 a step."""

    RIGHT = (0, 1, 0, 0, 1, 0, 1, 0)
    LENGTH = 8
    observation_space = spaces.Box(0, 1, (1,), np.float32)
    action_space = spaces.MultiBinary(8)

    def begin(self) -> None:
        pass

    def seen(self) -> np.ndarray:
        return np.ones(1, np.float32)

    def step(self, action: np.ndarray) -> Step:
        self.steps += 1
        right = tuple(action.tolist()) == self.RIGHT
        return self.seen(), float(right), self.steps == self.LENGTH, False, {}


class Masked(Probe):
    """Masks. Four rooms in random order, eight arms, three of them legal in each room; they earn 0, 0.5 and 1, for eight
    steps. An illegal arm is an error. Random play over legal arms: 1/2 a step."""

    #        arm: 0  1  2  3  4  5  6  7  (negative: illegal)
    PAYS = 0.5 * np.array(
        [
            [2, 1, 0, -1, -1, -1, -1, -1],
            [-1, 2, 1, 0, -1, -1, -1, -1],
            [-1, -1, -1, 2, -1, 0, 1, -1],
            [0, -1, -1, -1, 1, -1, -1, 2],
        ]
    )
    LENGTH = 8
    observation_space = spaces.Dict({"room": spaces.Box(0, 1, (4,), np.float32), "action_mask": spaces.MultiBinary(8)})
    action_space = spaces.Discrete(8)

    def begin(self) -> None:
        self.room = int(self.np_random.integers(4))

    def seen(self) -> dict[str, np.ndarray]:
        return {"room": one_hot(self.room, 4), "action_mask": (self.PAYS[self.room] >= 0).astype(np.int8)}

    def step(self, action: int) -> Step:
        reward = float(self.PAYS[self.room, action])
        if reward < 0:
            raise ValueError(f"arm {action} is illegal in room {self.room}")
        self.steps += 1
        self.begin()
        return self.seen(), reward, self.steps == self.LENGTH, False, {}


class Endless(Probe):
    """Time limits. Two states in random order, the action of the state's name earns 1, and nothing ever ends; after ten
    steps the episode is cut. The value of playing right is ``1 / (1 - gamma)`` everywhere, also where it is cut."""

    LENGTH = 10
    observation_space = spaces.Box(0, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def begin(self) -> None:
        self.state = int(self.np_random.integers(2))

    def seen(self) -> np.ndarray:
        return one_hot(self.state, 2)

    def step(self, action: int) -> Step:
        self.steps += 1
        reward = float(action == self.state)
        self.begin()
        return self.seen(), reward, False, self.steps == self.LENGTH, {}


def register() -> None:
    """Gives each probe an id, ``probes/<Name>-v0``; once, however often this file is imported."""
    for probe in (Cue, Chain, Fork, Scale, Buttons, Masked, Endless):
        name = f"probes/{probe.__name__}-v0"
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=probe)


register()
