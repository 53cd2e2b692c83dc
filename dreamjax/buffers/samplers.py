"""Which windows a batch takes: uniform, prioritised, and an online queue in front of either.

A sampler sees streams only by their write heads: ``head[e]`` is the number of steps ever written to environment ``e``,
of which the last ``min(head[e], size)`` are stored. A start ``s`` (an absolute step number) is valid for windows of
``length`` where ``head - size <= s`` and ``s + length <= head``. Samplers draw from the generator they are given and
keep no other randomness: the same state and generator give the same windows, bit for bit.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from dreamjax.config import ReplayConfig

State = dict[str, np.ndarray]
Draw = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # env int64 [B], start int64 [B], weight float32 [B] or None


class Sampler(Protocol):
    """What the sequence buffer asks of a sampler."""

    def sample(self, rng: np.random.Generator, batch_size: int, length: int, head: np.ndarray) -> Draw:
        """Starts of ``batch_size`` windows; there is at least one valid start."""

    def update(self, env: np.ndarray, step: np.ndarray, priority: np.ndarray) -> None:
        """New priorities ``[M]`` of stored steps."""

    def state_dict(self) -> State: ...
    def load_state_dict(self, state: State) -> None: ...
    @property
    def nbytes(self) -> int: ...


def valid_range(head: np.ndarray, size: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """First valid start and the one after the last, int64 ``[E]`` each (equal where a stream is too short)."""
    low = np.maximum(head - size, 0)
    return low, np.maximum(head - length + 1, low)


def expand_ranges(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs ``(e, s)`` with ``low[e] <= s < high[e]``, in order, as two int64 arrays."""
    count = np.maximum(high - low, 0)
    env = np.repeat(np.arange(len(count)), count)
    step = np.arange(len(env)) + np.repeat(low - np.cumsum(count) + count, count)
    return env, step


class UniformSampler:
    """Every valid start of every environment with the same probability."""

    def __init__(self, num_envs: int, size: int) -> None:
        self.size = size

    def sample(self, rng: np.random.Generator, batch_size: int, length: int, head: np.ndarray) -> Draw:
        low, high = valid_range(head, self.size, length)
        end = np.cumsum(high - low)
        pick = rng.integers(end[-1], size=batch_size)
        env = np.searchsorted(end, pick, side="right")
        return env, high[env] - end[env] + pick, None

    def update(self, env: np.ndarray, step: np.ndarray, priority: np.ndarray) -> None:
        pass

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State) -> None:
        pass

    nbytes = 0


def make_sampler(config: ReplayConfig, *, num_envs: int) -> Sampler:
    """The sampler of a configuration, for rings of ``config.capacity // num_envs`` steps."""
    size = config.capacity // num_envs
    return UniformSampler(num_envs, size)
