"""Replay of real steps: one ring buffer per environment in host memory, sampled in windows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from dreamjax.buffers.columns import Column, FloatColumn, IntegerColumn, action_column, latent_column, obs_column
from dreamjax.buffers.samplers import Sampler, expand_ranges, valid_range
from dreamjax.types import Batch, EnvSpec, Records, RSSMState

FIRST, LAST, TERMINAL = 1, 2, 4  # bits of the flags of a step
LatentSpec = dict[str, tuple[tuple[int, ...], str]]


def greatest_after(priority: np.ndarray) -> np.ndarray:
    """Returns for each step of ``[B, T]`` the maximum over the later steps of its row; the last keeps its value."""
    after = np.concatenate([priority[:, 1:], priority[:, -1:]], 1)
    return np.maximum.accumulate(after[:, ::-1], 1)[:, ::-1]


class Indices(NamedTuple):
    """The origin of the windows of a batch, in step numbers that stay valid when rings wrap around.

    Attributes:
        env: int64 ``[B]``, the environment.
        start: int64 ``[B]``, number of the first step of the window, counted from the start of the stream.
        length: T, the steps of each window.
    """

    env: np.ndarray
    start: np.ndarray
    length: int


class SequenceBuffer:
    """Steps of ``num_envs`` streams, each in a ring of ``capacity // num_envs`` steps with its own write head.

    A window is ``length`` consecutive steps of one stream. It never crosses the write head, and may span several
    episodes (``is_first`` inside), so that episodes shorter than a window are sampled too. Storage is lossless and
    compact (see ``columns``), except for latents, which are rounded to two bytes per number. Not thread-safe.

    Args:
        spec: specification of the environment.
        capacity: number of steps stored, over all environments.
        num_envs: number of streams.
        latent_spec: shape and compute dtype of "deter" and "stoch", to store latents with the steps; or None.
        sampler: draws the windows; made for the same ``num_envs`` and ring size.
        seed: seed of the generator (PCG64) from which the sampler draws.

    Raises:
        ValueError: if ``capacity < num_envs``.
    """

    def __init__(
        self,
        spec: EnvSpec,
        *,
        capacity: int,
        num_envs: int,
        latent_spec: LatentSpec | None = None,
        sampler: Sampler,
        seed: int,
    ) -> None:
        if num_envs < 1 or capacity < num_envs:
            raise ValueError(f"capacity={capacity} must be at least num_envs={num_envs}, which must be at least 1")
        self.spec, self.num_envs, self.size = spec, num_envs, capacity // num_envs
        self.head = np.zeros(num_envs, np.int64)  # steps ever written to each stream
        self.sampler = sampler
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self._columns = _columns(spec, self.num_envs * self.size)
        self._latents = _latent_columns(latent_spec, self.num_envs * self.size)

    def __len__(self) -> int:
        """Returns the number of stored steps over all environments."""
        return int(np.minimum(self.head, self.size).sum())

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, including the sampler's."""
        columns = [*self._columns.values(), *self._latents.values()]
        return sum(column.nbytes for column in columns) + self.head.nbytes + self.sampler.nbytes

    def num_windows(self, length: int) -> int:
        """Returns the number of valid starts of windows over all environments; ``sample`` needs at least one."""
        low, high = valid_range(self.head, self.size, length)
        return int((high - low).sum())

    def _row(self, env: np.ndarray, step: np.ndarray) -> np.ndarray:
        return env * self.size + step % self.size

    def add(self, records: Records, action: np.ndarray, latents: RSSMState | None = None) -> None:
        """Appends one step to the stream of each environment in ``records.env``.

        Args:
            records: records of ``n`` different environments, not necessarily all.
            action: ``[n, K]`` action records chosen from ``records.obs``.
            latents: states after these observations, ``[n, ...]``; ignored if the buffer stores no latents. Without
                them, the latents of the step are read as zeros until ``update`` sets them.

        Raises:
            ValueError: if an environment is out of range or repeated, or an entry differs from the specification in
                name, shape, dtype or range. Nothing is stored then.
        """
        env = np.asarray(records.env, np.int64)
        if env.size == 0:
            return
        if env.min() < 0 or env.max() >= self.num_envs or np.bincount(env).max() > 1:
            raise ValueError(f"env must be distinct numbers in [0, {self.num_envs}), got {env.tolist()}")
        encoded = self._encode(records, action)
        row = self._row(env, self.head[env])
        for name, value in encoded.items():
            self._columns[name].put(row, value)
        if self._latents:
            self._put_latents(row, latents)
        self.head[env] += 1

    def fill(self, records: Records, action: np.ndarray) -> None:
        """Adds whole streams to this empty buffer at once; equivalent to adding their steps one by one.

        Args:
            records: ``[N]`` steps of any environments; the steps of each environment are in order of time.
            action: ``[N, K]`` action records.

        Raises:
            ValueError: if the buffer is not empty, a stream is longer than its ring, or as in ``add``.
        """
        env = np.asarray(records.env, np.int64)
        count = np.bincount(env, minlength=self.num_envs)
        if self.head.any() or len(count) > self.num_envs or count.max() > self.size:
            raise ValueError(f"streams of {count.tolist()} steps do not fit {self.num_envs} empty rings of {self.size}")
        order = np.argsort(env, kind="stable")
        numbers, steps = expand_ranges(np.zeros_like(count), count)
        for low in range(0, len(env), 1 << 16):  # in parts, since encoded steps take additional memory
            part = slice(low, low + (1 << 16))
            chosen = order[part]
            plain = {name: value for name, value in vars(records).items() if name not in ("obs", "info")}
            rows = {name: np.asarray(value)[chosen] for name, value in plain.items()}
            obs = {name: value[chosen] for name, value in records.obs.items()}
            encoded = self._encode(Records(obs=obs, info={}, **rows), np.asarray(action)[chosen])
            for name, value in encoded.items():
                self._columns[name].put(self._row(numbers[part], steps[part]), value)
        self.head = count.astype(np.int64)

    def stored(self) -> tuple[Records, np.ndarray]:
        """Returns all steps ``[N]``, ordered by environment and time, and their actions ``[N, K]``, for ``fill``."""
        env, step = expand_ranges(np.maximum(self.head - self.size, 0), self.head)
        read = {name: column.read(self._row(env, step)) for name, column in self._columns.items()}
        flags = read["flags"]
        records = Records(
            env=env.astype(np.int32),
            obs={name: read[f"obs/{name}"] for name in self.spec.obs},
            reward=read["reward"],
            is_first=flags & FIRST != 0,
            is_last=flags & LAST != 0,
            is_terminal=flags & TERMINAL != 0,
            info={},
        )
        return records, read["action"]

    def _encode(self, records: Records, action: np.ndarray) -> dict[str, np.ndarray]:
        if records.obs.keys() != self.spec.obs.keys():
            raise ValueError(f"observations {sorted(self.spec.obs)} expected, got {sorted(records.obs)}")
        flags = FIRST * np.asarray(records.is_first, np.uint8) | LAST * np.asarray(records.is_last, np.uint8)
        values = {f"obs/{name}": value for name, value in records.obs.items()}
        values |= {"action": action, "reward": records.reward}
        values["flags"] = flags | TERMINAL * np.asarray(records.is_terminal, np.uint8)
        encoded = {name: self._columns[name].encode(value) for name, value in values.items()}
        for name, value in encoded.items():
            if len(value) != len(records.env):
                raise ValueError(f"{name}: {len(records.env)} rows expected, got {len(value)}")
        return encoded

    def _put_latents(self, row: np.ndarray, latents: RSSMState | None) -> None:
        if latents is not None:
            for name in ("deter", "stoch"):
                column = self._latents[name]
                column.put(row, column.encode(np.asarray(getattr(latents, name))))
        self._latents["kept"].put(row, np.full(len(row), latents is not None, np.uint8))

    def sample(self, batch_size: int, length: int) -> tuple[Batch, Indices]:
        """Samples windows ``[batch_size, length]`` as NumPy arrays.

        ``prev_action`` and ``context`` are those of the step before each window. They are zeros where the window starts
        with an episode or that step is not stored; ``context`` also where the step has no latents.

        Raises:
            ValueError: if no stream has a window of ``length`` steps yet, or ``length`` exceeds the ring size.
        """
        if not 1 <= length <= self.size:
            raise ValueError(f"length={length} must lie in [1, {self.size}], the steps stored per environment")
        if self.num_windows(length) == 0:
            raise ValueError(f"no window of {length} steps yet: the longest stream has {self.head.max()}")
        env, start = self.sampler.sample(self.rng, batch_size, length, self.head)
        row = self._row(env[:, None], start[:, None] + np.arange(length))
        read = {name: column.read(row) for name, column in self._columns.items()}
        flags = read["flags"]
        before = start - 1
        row_before = self._row(env, before)
        valid = (before >= np.maximum(self.head - self.size, 0)[env]) & (flags[:, 0] & FIRST == 0)
        prev_action = _zero_unless(valid, self._columns["action"].read(row_before))
        context = None
        if self._latents:
            valid = valid & (self._latents["kept"].read(row_before) == 1)
            context = RSSMState(
                deter=_zero_unless(valid, self._latents["deter"].read(row_before)),
                stoch=_zero_unless(valid, self._latents["stoch"].read(row_before)),
            )
        batch = Batch(
            obs={name: read[f"obs/{name}"] for name in self.spec.obs},
            action=read["action"],
            reward=read["reward"],
            is_first=flags & FIRST != 0,
            is_last=flags & LAST != 0,
            is_terminal=flags & TERMINAL != 0,
            row=np.arange(batch_size, dtype=np.int32),
            prev_action=prev_action,
            context=context,
        )
        return batch, Indices(env, start, length)

    def update(self, indices: Indices, *, priority: np.ndarray | None = None, latents: RSSMState | None = None) -> None:
        """Sets priorities and latents of sampled steps; skips steps that have been overwritten since.

        Where windows of a batch overlap, the values of the last row are stored.

        Args:
            indices: the indices from ``sample``.
            priority: float32 ``[B, T]`` of steps, finite and at least 0; used by prioritized samplers. A sampler draws
                starts of windows, so each step gets the maximum of the later steps in its window, which a window that
                starts there would contain.
            latents: states after each step ``[B, T, ...]``; ignored if the buffer stores no latents.
        """
        shape = (len(indices.env), indices.length)
        env = np.broadcast_to(indices.env[:, None], shape).reshape(-1)
        step = (indices.start[:, None] + np.arange(indices.length)).reshape(-1)
        stored = step >= np.maximum(self.head - self.size, 0)[env]
        env, step = env[stored], step[stored]
        if priority is not None:
            priority = np.asarray(priority)
            if priority.shape != shape:
                raise ValueError(f"priority of shape {shape} expected, got {priority.shape}")
            self.sampler.update(env, step, greatest_after(priority).reshape(-1)[stored])
        if latents is not None and self._latents:
            flat = [np.asarray(leaf) for leaf in (latents.deter, latents.stoch)]
            if any(leaf.shape[:2] != shape for leaf in flat):
                raise ValueError(f"latents {shape} expected, got {[leaf.shape for leaf in flat]}")
            deter, stoch = (leaf.reshape(-1, *leaf.shape[2:])[stored] for leaf in flat)
            self._put_latents(self._row(env, step), RSSMState(deter=deter, stoch=stoch))

    def state_dict(self, since: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Returns the complete state as a flat dictionary of copied arrays.

        Stored steps are rows, by environment and then by time: for environment ``e`` the steps
        ``first[e] .. head[e] - 1``. Latents and priorities change after they are written and are always included.

        Args:
            since: ``head`` of an earlier state; then only steps written after it are included. Loading the earlier
                state and this one, or any chain of them in order, is equivalent to loading one complete state.
        """
        return self.dump_steps(since) | self.dump_rest()

    def dump_steps(self, since: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Returns the part of ``state_dict`` that never changes once written: the steps."""
        oldest = np.maximum(self.head - self.size, 0)
        first = oldest if since is None else np.clip(np.asarray(since, np.int64), oldest, self.head)
        state = {"head": self.head.copy(), "first": first, "size": np.array(self.size)}
        row = self._row(*expand_ranges(first, self.head))
        for name, column in self._columns.items():
            state |= {f"{name}/{key}": value for key, value in column.dump(row).items()}
        return state

    def dump_rest(self) -> dict[str, np.ndarray]:
        """Returns the part of ``state_dict`` that changes with updates and draws: latents, sampler, generator."""
        state = {"head": self.head.copy(), "size": np.array(self.size), "rng": _rng_state(self.rng)}
        row = self._row(*expand_ranges(np.maximum(self.head - self.size, 0), self.head))
        for name, column in self._latents.items():
            state |= {f"latent/{name}/{key}": value for key, value in column.dump(row).items()}
        return state | {f"sampler/{key}": value for key, value in self.sampler.state_dict().items()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Restores a state from ``state_dict``; a partial state is applied after the states before it.

        Raises:
            ValueError: if the state has another number of environments, ring size or specification, or if steps
                between this buffer and a partial state are missing.
        """
        self.load([state], state)

    def load(self, parts: Iterable[dict[str, np.ndarray]], rest: dict[str, np.ndarray]) -> None:
        """Restores ``rest`` (from ``dump_rest``) and the steps up to its ``head`` from ``parts`` (from ``dump_steps``).

        The steps of this buffer and the parts, in order, must cover the steps that are stored at ``head``; older steps
        may be missing.

        Raises:
            ValueError: as in ``load_state_dict``.
        """
        self._check_layout(rest)
        self.load_steps(parts, rest["head"])
        row = self._row(*expand_ranges(np.maximum(self.head - self.size, 0), self.head))
        for name, column in self._latents.items():
            column.load(row, _select(rest, f"latent/{name}"))
        self.sampler.load_state_dict(_select(rest, "sampler"))
        self.rng = _rng_from(rest["rng"])

    def load_steps(self, parts: Iterable[dict[str, np.ndarray]], head: np.ndarray) -> None:
        """Restores only the steps up to ``head``, not latents and sampler; raises like ``load``."""
        head = np.array(head, np.int64)
        oldest, reached = np.maximum(head - self.size, 0), self.head
        for part in parts:
            self._check_layout(part)
            first, end = np.asarray(part["first"], np.int64), np.asarray(part["head"], np.int64)
            if (first > np.maximum(oldest, reached)).any():
                raise ValueError(
                    f"saved replay starts at steps {first.tolist()}, the steps before it end at {reached.tolist()}"
                )
            row = self._row(*expand_ranges(first, end))
            for name, column in self._columns.items():
                column.load(row, _select(part, name))
            reached = end
        if (reached != head).any():
            raise ValueError(f"saved replay ends at steps {reached.tolist()}, its state at {head.tolist()}")
        self.head = head

    def _check_layout(self, state: dict[str, np.ndarray]) -> None:
        if len(state["head"]) != self.num_envs or int(state["size"]) != self.size:
            raise ValueError(
                f"saved replay has {len(state['head'])} environments of {int(state['size'])} steps, "
                f"this one {self.num_envs} of {self.size}"
            )


def nbytes_for(
    spec: EnvSpec, capacity: int, *, num_envs: int = 1, latent_spec: LatentSpec | None = None, promoted: bool = False
) -> int:
    """Returns the bytes of a buffer without making it.

    A prioritized sampler (20 to 36 bytes per step) and tables of distinct values (below 1 MB each) are not counted.

    Args:
        spec, capacity, num_envs, latent_spec: as for ``SequenceBuffer``.
        promoted: whether every float32 vector has more than 65,536 distinct values (see ``columns.CodedColumn``).
    """
    rows = capacity // num_envs * num_envs
    columns = [*_columns(spec, 1).values(), *_latent_columns(latent_spec, 1).values()]
    row = sum(_row_bytes(column) for column in columns)
    if promoted:
        row += sum(2 * entry.size for entry in spec.obs.values() if entry.kind == "vector" and entry.dtype == "float32")
    return rows * row


def _row_bytes(column: Column) -> int:
    return sum(value.nbytes for key, value in column.dump(np.zeros(1, np.int64)).items() if key == "rows")


def _columns(spec: EnvSpec, rows: int) -> dict[str, Column]:
    columns = {f"obs/{name}": obs_column(f"obs/{name}", entry, rows) for name, entry in spec.obs.items()}
    columns["action"] = action_column(spec.action, rows)
    columns["reward"] = FloatColumn("reward", rows, (), np.float32)
    columns["flags"] = IntegerColumn("flags", rows, (), np.uint8, limit=8)
    return columns


def _latent_columns(latent_spec: LatentSpec | None, rows: int) -> dict[str, Column]:
    if latent_spec is None:
        return {}
    if latent_spec.keys() != {"deter", "stoch"}:
        raise ValueError(f"latent_spec must name deter and stoch, got {sorted(latent_spec)}")
    columns = {name: latent_column(name, tuple(shape), dtype, rows) for name, (shape, dtype) in latent_spec.items()}
    return columns | {"kept": IntegerColumn("kept", rows, (), np.uint8, limit=2)}


def _zero_unless(valid: np.ndarray, values: np.ndarray) -> np.ndarray:
    values[~valid] = 0
    return values


def _select(state: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key[len(prefix) + 1 :]: value for key, value in state.items() if key.startswith(prefix + "/")}


def _rng_state(rng: np.random.Generator) -> np.ndarray:
    """Returns the state of a PCG64 generator as uint64 ``[6]``."""
    state = rng.bit_generator.state
    words = [part >> shift & (2**64 - 1) for part in state["state"].values() for shift in (64, 0)]
    return np.array([*words, state["has_uint32"], state["uinteger"]], np.uint64)


def _rng_from(words: np.ndarray) -> np.random.Generator:
    high, low, inc_high, inc_low, has_uint32, uinteger = (int(word) for word in words)
    bits = np.random.PCG64()
    bits.state = {
        "bit_generator": "PCG64",
        "state": {"state": high << 64 | low, "inc": inc_high << 64 | inc_low},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
    return np.random.Generator(bits)
