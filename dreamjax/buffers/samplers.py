"""Samplers of replay windows: uniform, prioritized, a mixture of both, and an online queue before any of them.

A sampler knows streams by their write heads: ``head[e]`` is the number of steps ever written to environment ``e``, of
which the last ``min(head[e], size)`` are stored. A start ``s`` (an absolute step number) is valid for windows of
``length`` steps if ``head - size <= s`` and ``s + length <= head``. All randomness comes from the generator passed to
``sample``, so that the same state and generator give the same windows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from dreamjax.config import ReplayConfig

State = dict[str, np.ndarray]
Draw = tuple[np.ndarray, np.ndarray]  # env int64 [B], start int64 [B]


class Sampler(Protocol):
    """The interface between the sequence buffer and a sampler."""

    def sample(self, rng: np.random.Generator, batch_size: int, length: int, head: np.ndarray) -> Draw:
        """Draws the starts of ``batch_size`` windows; at least one valid start must exist."""

    def update(self, env: np.ndarray, step: np.ndarray, priority: np.ndarray) -> None:
        """Sets the priorities ``[M]`` of stored steps."""

    def state_dict(self) -> State: ...
    def load_state_dict(self, state: State) -> None: ...
    @property
    def nbytes(self) -> int: ...


def valid_range(head: np.ndarray, size: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first valid start and the end of the valid starts, int64 ``[E]``; equal if there are none."""
    low = np.maximum(head - size, 0)
    return low, np.maximum(head - length + 1, low)


def expand_ranges(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns all pairs ``(e, s)`` with ``low[e] <= s < high[e]``, in order, as two int64 arrays."""
    count = np.maximum(high - low, 0)
    env = np.repeat(np.arange(len(count)), count)
    step = np.arange(len(env)) + np.repeat(low - np.cumsum(count) + count, count)
    return env, step


class UniformSampler:
    """Draws every valid start of every environment with equal probability."""

    def __init__(self, num_envs: int, size: int) -> None:
        self.size = size

    def sample(self, rng: np.random.Generator, batch_size: int, length: int, head: np.ndarray) -> Draw:
        low, high = valid_range(head, self.size, length)
        end = np.cumsum(high - low)
        pick = rng.integers(end[-1], size=batch_size)
        env = np.searchsorted(end, pick, side="right")
        return env, high[env] - end[env] + pick

    def update(self, env: np.ndarray, step: np.ndarray, priority: np.ndarray) -> None:
        pass

    def state_dict(self) -> State:
        return {}

    def load_state_dict(self, state: State) -> None:
        pass

    nbytes = 0


class SumTree:
    """A binary tree of sums of ``size`` non-negative leaves; all operations are vectorized over leaves.

    Every inner node is computed as the sum of its two children, so equal leaves give equal trees in any order of writes.
    """

    def __init__(self, size: int) -> None:
        self.depth = max(size - 1, 0).bit_length()
        self.base = 1 << self.depth
        self.nodes = np.zeros(2 * self.base, np.float64)  # node 1 is the root, leaf i is node base + i

    @property
    def total(self) -> float:
        return float(self.nodes[1])

    def set(self, leaf: np.ndarray, value: np.ndarray | float) -> None:
        """Writes leaves (the last value of repeated ones) and updates the sums above them."""
        node = leaf + self.base
        self.nodes[node] = value
        for _ in range(self.depth):
            node = node >> 1
            self.nodes[node] = self.nodes[2 * node] + self.nodes[2 * node + 1]

    def fill(self, values: np.ndarray) -> None:
        """Writes all leaves ``[size]``."""
        self.nodes[self.base : self.base + len(values)] = values
        low = self.base
        while low > 1:
            self.nodes[low // 2 : low] = self.nodes[low : 2 * low : 2] + self.nodes[low + 1 : 2 * low : 2]
            low //= 2

    def find(self, mass: np.ndarray) -> np.ndarray:
        """Returns the leaf at cumulative sum ``mass`` in [0, total); never a leaf of value 0 unless the total is 0."""
        node, mass = np.ones(len(mass), np.int64), mass.copy()
        for _ in range(self.depth):
            left, right = self.nodes[2 * node], self.nodes[2 * node + 1]
            go_right = (mass >= left) & (right > 0)  # rounding may leave mass >= left + right
            mass -= np.where(go_right, left, 0)
            node = 2 * node + go_right
        return node - self.base


class PrioritizedSampler:
    """Starts drawn with probability ``p^exponent / sum p^exponent`` over valid starts (Schaul et al. 2016, eq. 1).

    ``p`` is the last priority of the step at the start, clipped to [1e-6, 1e6]. A new step gets the mean ``p^exponent``
    of the starts so far; with the maximum instead, most draws would be new steps and rare old ones would almost never be
    drawn.

    The tree contains the valid starts for the last ``length``; a different length rebuilds it (about 10 ms for 1,000,000
    steps), so a run should use a single length.
    """

    def __init__(self, num_envs: int, size: int, *, exponent: float) -> None:
        self.size, self.exponent = size, exponent
        self.mass = np.zeros(
            num_envs * size, np.float32
        )  # p^exponent of every stored step, also where it is not a valid start
        self.seen = np.zeros(num_envs, np.int64)  # write heads up to which `mass` and `tree` are current
        self.length = 0
        self.tree = SumTree(num_envs * size)

    def _row(self, env: np.ndarray, step: np.ndarray) -> np.ndarray:
        return env * self.size + step % self.size

    def _rebuild(self) -> None:
        masked = np.zeros_like(self.mass)
        row = self._row(*expand_ranges(*valid_range(self.seen, self.size, self.length)))
        masked[row] = self.mass[row]
        self.tree.fill(masked)

    def _follow(self, head: np.ndarray, length: int) -> None:
        """Updates masses and tree to the write heads: new steps get the mean mass, new valid starts are added."""
        before, (was_low, was_valid) = self.seen, valid_range(self.seen, self.size, self.length)
        low, high = valid_range(head, self.size, length)
        fresh = self._row(*expand_ranges(np.maximum(before, low), head))
        self.mass[fresh] = self.tree.total / np.sum(was_valid - was_low) if self.tree.total > 0 else 1.0
        self.seen = head.copy()
        if length != self.length:
            self.length = length
            self._rebuild()
        elif len(fresh):
            entered = self._row(*expand_ranges(np.maximum(was_valid, low), high))
            self.tree.set(np.concatenate([fresh, entered]), np.concatenate([np.zeros(len(fresh)), self.mass[entered]]))

    def sample(self, rng: np.random.Generator, batch_size: int, length: int, head: np.ndarray) -> Draw:
        self._follow(head, length)
        row = self.tree.find(rng.random(batch_size) * self.tree.total)
        env, slot = np.divmod(row, self.size)
        low = np.maximum(head - self.size, 0)
        return env, low[env] + (slot - low[env]) % self.size

    def update(self, env: np.ndarray, step: np.ndarray, priority: np.ndarray) -> None:
        """Sets the priorities ``[M]`` of stored steps.

        Raises:
            ValueError: if a priority is negative or not finite; then none is set.
        """
        if not (np.isfinite(priority).all() and (priority >= 0).all()):
            raise ValueError("priorities must be finite and at least 0")
        if not len(priority):
            return
        row = self._row(env, step)
        mass = np.clip(priority, 1e-6, 1e6).astype(np.float64) ** self.exponent
        mass = np.clip(mass, 1e-30, 1e30).astype(np.float32)  # above 0 and finite for any exponent
        self.mass[row] = mass
        valid = row[step + self.length <= self.seen[env]]
        self.tree.set(valid, self.mass[valid])

    def state_dict(self) -> State:
        return {
            "mass": self.mass.copy(),
            "seen": self.seen.copy(),
            "length": np.array(self.length),
        }

    def load_state_dict(self, state: State) -> None:
        if state["mass"].shape != self.mass.shape:
            raise ValueError(f"saved priorities are {state['mass'].shape}, this sampler has {self.mass.shape}")
        self.mass = np.array(state["mass"], np.float32)
        self.seen = np.array(state["seen"], np.int64)
        self.length = int(state["length"])
        self._rebuild()

    @property
    def nbytes(self) -> int:
        return self.mass.nbytes + self.tree.nodes.nbytes


class MixtureSampler:
    """Draws the rows ``rows(batch_size)`` of every batch uniformly and the other rows with ``base``."""

    def __init__(self, base: Sampler, uniform: UniformSampler, rows: Callable[[int], np.ndarray]) -> None:
        self.base, self.uniform, self.rows = base, uniform, rows

    def sample(self, rng: np.random.Generator, batch_size: int, length: int, head: np.ndarray) -> Draw:
        rows = self.rows(batch_size)
        env, start = np.zeros((2, batch_size), np.int64)
        others = np.setdiff1d(np.arange(batch_size), rows)
        for sampler, mine in ((self.uniform, rows), (self.base, others)):
            env[mine], start[mine] = sampler.sample(rng, len(mine), length, head)
        return env, start

    def update(self, env: np.ndarray, step: np.ndarray, priority: np.ndarray) -> None:
        self.base.update(env, step, priority)

    def state_dict(self) -> State:
        return self.base.state_dict()

    def load_state_dict(self, state: State) -> None:
        self.base.load_state_dict(state)

    @property
    def nbytes(self) -> int:
        return self.base.nbytes


class OnlineQueue:
    """Fills up to ``round(fraction * batch_size)`` rows of a batch with new windows, each used once, the rest by ``base``.

    The online queue of DreamerV3 (Nature 2025, Methods) as in its code: each stream is divided into consecutive windows
    without overlap, each with the ``context`` steps before it, whose latents it starts from; the first step of a stream is
    in none. Oldest windows are drawn first, and overwritten ones are dropped. A different window length empties the queue.
    """

    def __init__(self, base: Sampler, num_envs: int, size: int, *, fraction: float, context: int) -> None:
        self.base, self.size, self.fraction, self.context = base, size, fraction, context
        self.cut = np.ones(num_envs, np.int64)  # steps of each stream that have been divided into windows, or left out
        self.queue = np.zeros((0, 2), np.int64)  # (env, start), oldest first
        self.length = 0

    def sample(self, rng: np.random.Generator, batch_size: int, length: int, head: np.ndarray) -> Draw:
        oldest = np.maximum(head - self.size, 0)
        if length != self.length:
            self.queue, self.length = self.queue[:0], length
        step = self.context + length
        count = np.maximum(head - self.cut, 0) // step
        env, place = expand_ranges(np.zeros_like(head), count)
        start = self.cut[env] + place * step + self.context
        age = np.argsort(start - head[env], kind="stable")
        self.cut = self.cut + count * step
        queue = np.concatenate([self.queue, np.stack([env, start], 1)[age]])
        queue = queue[queue[:, 1] - self.context >= oldest[queue[:, 0]]]
        taken, self.queue = np.split(queue, [round(self.fraction * batch_size)])
        env, start = self.base.sample(rng, batch_size - len(taken), length, head)
        return np.concatenate([taken[:, 0], env]), np.concatenate([taken[:, 1], start])

    def update(self, env: np.ndarray, step: np.ndarray, priority: np.ndarray) -> None:
        self.base.update(env, step, priority)

    def state_dict(self) -> State:
        base = {f"base/{key}": value for key, value in self.base.state_dict().items()}
        return {"cut": self.cut.copy(), "queue": self.queue.copy(), "length": np.array(self.length), **base}

    def load_state_dict(self, state: State) -> None:
        self.cut = np.array(state["cut"], np.int64)
        self.queue = np.array(state["queue"], np.int64)
        self.length = int(state["length"])
        self.base.load_state_dict({key[5:]: value for key, value in state.items() if key.startswith("base/")})

    @property
    def nbytes(self) -> int:
        return self.base.nbytes + self.queue.nbytes


def make_sampler(config: ReplayConfig, *, num_envs: int) -> Sampler:
    """Makes the sampler of a configuration, for rings of ``config.capacity // num_envs`` steps."""
    size = config.capacity // num_envs
    sampler: Sampler = UniformSampler(num_envs, size)
    if config.sampler == "prioritized":
        sampler = PrioritizedSampler(num_envs, size, exponent=config.priority_exponent)
    if config.uniform_fraction > 0:
        sampler = MixtureSampler(sampler, UniformSampler(num_envs, size), config.uniform_rows)
    if config.online > 0:
        sampler = OnlineQueue(sampler, num_envs, size, fraction=config.online, context=int(config.keep_latents))
    return sampler
