"""Tetris as Gymnasium environments: one game, or N games in one compiled program.

A step is one call of a compiled function and one transfer from the device: what Python needs comes
back packed into one array of bytes.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.vector.utils import batch_space

from dreamjax.config.schema import build, require
from dreamjax.envs.tetris import engine, observation, render, rules
from dreamjax.envs.tetris.reward import PARTS
from dreamjax.envs.tetris.rules import TetrisConfig, TetrisState

_COUNTS = ("lines", "lines_cleared", "pieces")
_PAID = tuple(f"reward/{name}" for name in PARTS)
_NUMBERS = ("reward", *_PAID, "terminated", "truncated", *_COUNTS)


def make_config(fields: dict[str, Any]) -> TetrisConfig:
    """A configuration from keyword arguments.

    Raises:
      ConfigError: when a name is unknown or a value is not allowed.
    """
    return build(TetrisConfig, fields)


def _pack(config: TetrisConfig, state: TetrisState, output: engine.StepOutput) -> jax.Array:
    """uint8[n]: everything that a step returns to Python, numbers first."""
    observed = engine.observe(config, state)
    numbers = [output.reward, *(output.parts[name] for name in PARTS)]
    numbers += [output.terminated, output.truncated]
    numbers += [state.lines, output.lines_cleared, state.pieces]
    words = jnp.concatenate([observed["piece"], jnp.stack([jnp.asarray(number, jnp.float32) for number in numbers])])
    cells = [jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)]
    cells.append(observed["board"].reshape(-1))
    if "action_mask" in observed:
        cells.append(observed["action_mask"].astype(jnp.uint8))
    return jnp.concatenate(cells)


def _silence(config: TetrisConfig, state: TetrisState) -> engine.StepOutput:
    """The output of a step in which nothing happened, as after a reset."""
    zero = jnp.float32(0.0)
    parts = {name: zero for name in PARTS}
    return engine.StepOutput(zero, state.terminated, state.truncated, state.last_lines, jnp.bool_(False), parts)


class _Field(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    words: slice


@functools.cache
def _layout(config: TetrisConfig, num_fixed: int) -> tuple[dict[str, _Field], int]:
    """Where each field of a state lies in its row of words, and how many words there are."""
    key = jax.ShapeDtypeStruct((2,), np.uint32)
    fixed = jax.ShapeDtypeStruct((num_fixed,), np.int8)
    state = jax.eval_shape(lambda key, fixed: engine.reset(config, key, fixed), key, fixed)
    fields, start = {}, 0
    for name in (field.name for field in dataclasses.fields(TetrisState)):
        leaf = getattr(state, name)
        fields[name] = _Field(leaf.shape, np.dtype(leaf.dtype), slice(start, start + leaf.size))
        start += leaf.size
    return fields, start


def _to_words(state: TetrisState) -> jax.Array:
    """uint32[n]: a state as one row, since a call costs by the number of its arrays."""

    def words(leaf: jax.Array) -> jax.Array:
        return leaf.reshape(-1).astype(jnp.int32).view(jnp.uint32)

    leaves = [getattr(state, field.name) for field in dataclasses.fields(TetrisState)]
    return jnp.concatenate([leaf.reshape(-1) if leaf.dtype == jnp.uint32 else words(leaf) for leaf in leaves])


def _to_state(config: TetrisConfig, words: Any) -> TetrisState:
    """The state, or batch of states, in rows of words (of jax or numpy), inverse to `_to_words`."""
    num_fixed = words.shape[-1] - _layout(config, 0)[1]
    leaves = {}
    for name, field in _layout(config, num_fixed)[0].items():
        leaf = words[..., field.words].reshape((*words.shape[:-1], *field.shape))
        leaves[name] = leaf if field.dtype == np.uint32 else leaf.view(np.int32).astype(field.dtype)
    return TetrisState(**leaves)


@functools.partial(jax.jit, static_argnums=0)
def _reset(config: TetrisConfig, keys: jax.Array, fixed: jax.Array, num_fixed: jax.Array) -> Any:
    def one(key: jax.Array, pieces: jax.Array, number: jax.Array) -> Any:
        state = engine.reset(config, key, pieces, num_pieces=number)
        return _to_words(state), _pack(config, state, _silence(config, state))

    return jax.vmap(one)(keys, fixed, num_fixed)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _step(config: TetrisConfig, autoreset: bool, words: jax.Array, action: jax.Array) -> Any:
    def one(words: jax.Array, action: jax.Array) -> Any:
        advance = engine.auto_step if autoreset else engine.step
        state, output = advance(config, _to_state(config, words), action)
        return _to_words(state), _pack(config, state, output)

    return jax.vmap(one)(words, action)


@functools.partial(jax.jit, static_argnums=0)
def _look(config: TetrisConfig, words: jax.Array) -> jax.Array:
    def one(words: jax.Array) -> jax.Array:
        state = _to_state(config, words)
        return _pack(config, state, _silence(config, state))

    return jax.vmap(one)(words)


@jax.jit
def _fold(words: jax.Array, index: jax.Array) -> jax.Array:
    def one(words: jax.Array, index: jax.Array) -> jax.Array:
        key = jax.random.wrap_key_data(words, impl="threefry2x32")
        return jax.random.key_data(jax.random.fold_in(key, index))

    return jax.vmap(one)(words, index)


_next_keys = jax.jit(jax.vmap(rules.next_key))


def _seed_words(seed: int | None) -> np.ndarray:
    """uint32[2] from a seed of any size (0 is a seed like any other), or from fresh entropy."""
    return np.random.SeedSequence(seed).generate_state(2, np.uint32)


def _streams(pieces: Any, num_envs: int) -> tuple[np.ndarray, np.ndarray]:
    """Streams of pieces, padded to a common power of two so that few shapes are compiled.

    Args:
      pieces: None, one sequence for all games, or one sequence for each.

    Returns:
      int8[num_envs, n] and int32[num_envs], how many of each count.

    Raises:
      ValueError: when a sequence is wrong, or there is neither one nor ``num_envs`` of them.
    """
    if pieces is None:
        return np.zeros((num_envs, 0), np.int8), np.zeros((num_envs,), np.int32)
    is_nested = len(pieces) > 0 and np.ndim(pieces[0]) > 0
    rows = [engine.fixed_pieces(row) for row in (pieces if is_nested else [pieces])]
    if len(rows) == 1:
        rows = rows * num_envs
    if len(rows) != num_envs:
        raise ValueError(f"pieces: {len(rows)} sequences for {num_envs} games; give one or as many")
    size = max(64, 1 << (max(map(len, rows)) - 1).bit_length())
    # Padding repeats the stream, as the game does.
    return np.stack([np.resize(row, size) for row in rows]), np.array(list(map(len, rows)), "int32")


def _pieces_option(options: dict[str, Any] | None) -> Any:
    for name in options or {}:
        if name != "pieces":
            raise ValueError(f"reset option {name!r}: unknown; the only one is 'pieces'")
    return (options or {}).get("pieces")


class _Unpacker:
    """Reads what ``_pack`` wrote, for a batch."""

    def __init__(self, config: TetrisConfig) -> None:
        self._num_piece = observation.piece_size(config)
        self._words = 4 * (self._num_piece + len(_NUMBERS))
        self._board = (observation.num_channels(config), config.height, config.width)
        self._end = self._words + int(np.prod(self._board))
        self._has_mask = config.action_mode == "locked_position"

    def __call__(self, packed: jax.Array) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any]]:
        """Observation, numbers by name, and info, each with a leading axis of games; all writable."""
        raw = np.asarray(packed)
        words = np.ascontiguousarray(raw[:, : self._words]).view(np.float32)
        observed = self._observed(raw, words)
        numbers = dict(zip(_NUMBERS, words[:, self._num_piece :].T, strict=True))
        info: dict[str, Any] = {name: numbers[name].astype(np.int64) for name in _COUNTS}
        info |= {name: numbers[name].astype(np.float64) for name in _PAID}
        if self._has_mask:
            info["action_mask"] = observed["action_mask"].astype(bool)
        return observed, numbers, info

    def one(self, packed: jax.Array) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, Any]]:
        """The same for a batch of one, without the axis, and with plain numbers."""
        raw = np.asarray(packed)[0]
        words = raw[: self._words].view(np.float32)
        observed = self._observed(raw, words)
        numbers = dict(zip(_NUMBERS, words[self._num_piece :].tolist(), strict=True))
        info: dict[str, Any] = {name: int(numbers[name]) for name in _COUNTS}
        info |= {name: numbers[name] for name in _PAID}
        if self._has_mask:
            info["action_mask"] = observed["action_mask"].astype(bool)
        return observed, numbers, info

    def _observed(self, raw: np.ndarray, words: np.ndarray) -> dict[str, np.ndarray]:
        board = raw[..., self._words : self._end].reshape(*raw.shape[:-1], *self._board)
        observed = {"board": board.copy(), "piece": words[..., : self._num_piece].copy()}
        if self._has_mask:
            observed["action_mask"] = raw[..., self._end :].astype(np.int8)
        return observed


def _check_actions(config: TetrisConfig, actions: np.ndarray, shape: tuple[int, ...]) -> None:
    if actions.shape != shape or actions.dtype.kind not in "biu":
        raise ValueError(
            f"action of shape {actions.shape} and dtype {actions.dtype}: must be of integers or"
            f" bools with shape {shape}"
        )
    is_cell = config.action_mode == "locked_position"
    limit = config.height * config.width if is_cell else 8 if config.buttons == "one" else 2
    if actions.size and (actions.min() < 0 or actions.max() >= limit):
        raise ValueError(f"action={actions!r}: must be from 0 to {limit - 1}")


class TetrisEnv(gymnasium.Env[Any, Any]):
    """One game. Every field of `TetrisConfig` is a keyword.

    `reset(options={"pieces": [0, 3, ...]})` fixes the pieces of the episode (0..6, order I O T S Z J L; they repeat).
    `info` holds `lines` (total), `lines_cleared` (by this step), `pieces` (placed), the parts of the reward as
    `reward/<name>`, and in `locked_position` `action_mask` (bool[height * width]).
    """

    metadata = {"render_modes": ["human", "ansi", "rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, *, render_mode: str | None = None, **fields: Any) -> None:
        self.config = make_config(fields)
        self.render_mode = render.checked_mode(render_mode)
        self.observation_space = observation.observation_space(self.config)
        self.action_space = observation.action_space(self.config)
        self._unpack = _Unpacker(self.config)
        self._words: jax.Array | None = None
        self._screen: render.Screen | None = None

    @property
    def state(self) -> TetrisState:
        """The state of the game, for the pure functions of `engine`."""
        return _to_state(self.config, _needed(self._words)[0])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        fixed, num_fixed = _streams(_pieces_option(options), 1)
        keys = _keys(self.config, self._words, seed, 1)
        self._words, packed = _reset(self.config, keys, fixed, num_fixed)
        if self.render_mode == "human":
            self.render()
        observed, _, info = self._unpack.one(packed)
        return observed, info

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        action = np.asarray(action)
        _check_actions(self.config, action, self.action_space.shape or ())
        self._words, packed = _step(self.config, False, _needed(self._words), action[None])
        if self.render_mode == "human":
            self.render()
        observed, numbers, info = self._unpack.one(packed)
        return observed, numbers["reward"], numbers["terminated"] != 0, numbers["truncated"] != 0, info

    def get_state(self) -> dict[str, np.ndarray]:
        """The whole state as numpy arrays by field, each with a leading axis of one."""
        return _to_arrays(self.config, _needed(self._words))

    def set_state(self, arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Goes on from a state of `get_state`; returns its observation and info.

        Raises:
          ValueError: when a field is missing, unknown, or of another shape or dtype.
        """
        self._words = _from_arrays(self.config, arrays, 1)
        observed, _, info = self._unpack.one(_look(self.config, self._words))
        return observed, info

    def render(self) -> Any:
        if self.render_mode is None:
            return None
        picture = render.Picture.of(self.config, _to_state(self.config, np.asarray(_needed(self._words))[0]))
        if self.render_mode == "human":
            self._screen = self._screen or render.Screen(self.metadata["render_fps"])
            return self._screen.show(picture)
        return picture.text() if self.render_mode == "ansi" else picture.rgb()

    def close(self) -> None:
        if self._screen is not None:
            self._screen.close()
            self._screen = None


class TetrisVectorEnv(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """N games in one compiled program, with Gymnasium's NEXT_STEP autoreset.

    As `TetrisEnv`; `info` holds arrays with a leading axis of N (and, as Gymnasium's vector environments do, a mask
    `_<name>` for each). Game `i` of seed `s` does not depend on N, and game 0 is the game of `TetrisEnv` with that
    seed. `options={"pieces": ...}` takes one sequence for all games or one for each, and holds until the episode ends.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 30,
        "autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP,
    }

    def __init__(self, num_envs: int = 1, *, render_mode: str | None = None, **fields: Any) -> None:
        require(num_envs >= 1, "num_envs", num_envs, "must be 1 or more")
        self.config = make_config(fields)
        self.num_envs = num_envs
        self.render_mode = render.checked_mode(render_mode, allowed=("ansi", "rgb_array"))
        self.single_observation_space = observation.observation_space(self.config)
        self.single_action_space = observation.action_space(self.config)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._unpack = _Unpacker(self.config)
        self._words: jax.Array | None = None

    @property
    def state(self) -> TetrisState:
        """The states of all games, for the pure functions of `engine`; every leaf has a leading axis of N."""
        return _to_state(self.config, _needed(self._words))

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        fixed, num_fixed = _streams(_pieces_option(options), self.num_envs)
        keys = _keys(self.config, self._words, seed, self.num_envs)
        self._words, packed = _reset(self.config, keys, fixed, num_fixed)
        observed, _, info = self._unpack(packed)
        return observed, _masked(info, self.num_envs)

    def step(self, actions: Any) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        actions = np.asarray(actions)
        _check_actions(self.config, actions, self.action_space.shape or (self.num_envs,))
        self._words, packed = _step(self.config, True, _needed(self._words), actions)
        return self._unpacked(packed)

    @property
    def words(self) -> jax.Array:
        """uint32[N, n]: the states of all games as `pure_step` takes them."""
        return _needed(self._words)

    def pure_step(self, words: jax.Array, actions: jax.Array) -> tuple[jax.Array, jax.Array, Any, jax.Array]:
        """`step` as a pure function, to be part of a compiled program; `follow` takes what such a program did.

        Returns:
          The next words; uint8[N, n], which `follow` reads; the observations; bool[N], the games that have ended.
        """
        words, packed = _step(self.config, True, words, actions)
        state = _to_state(self.config, words)
        observed = jax.vmap(functools.partial(engine.observe, self.config))(state)
        return words, packed, observed, state.terminated | state.truncated

    def follow(self, words: jax.Array, packed: jax.Array) -> list[tuple[Any, np.ndarray, np.ndarray, np.ndarray, Any]]:
        """Goes on from the last words of K calls of `pure_step`; returns what K calls of `step` would have.

        Args:
          words: uint32[N, n]. packed: uint8[K, N, n], of each call.
        """
        self._words = words
        return [self._unpacked(one) for one in np.asarray(packed)]

    def _unpacked(self, packed: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, Any]:
        observed, numbers, info = self._unpack(packed)
        reward = numbers["reward"].astype(np.float64)
        info = _masked(info, self.num_envs)
        return observed, reward, numbers["terminated"] != 0, numbers["truncated"] != 0, info

    def get_state(self) -> dict[str, np.ndarray]:
        """The whole state as numpy arrays by field: with `set_state` the games go on bit for bit."""
        return _to_arrays(self.config, _needed(self._words))

    def set_state(self, arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Goes on from a state of `get_state`; returns its observations and infos.

        Raises:
          ValueError: when a field is missing, unknown, or of another shape or dtype.
        """
        self._words = _from_arrays(self.config, arrays, self.num_envs)
        observed, _, info = self._unpack(_look(self.config, self._words))
        return observed, _masked(info, self.num_envs)

    def render(self) -> tuple[Any, ...] | None:
        if self.render_mode is None:
            return None
        words = np.asarray(_needed(self._words))
        pictures = [render.Picture.of(self.config, _to_state(self.config, row)) for row in words]
        return tuple(one.text() if self.render_mode == "ansi" else one.rgb() for one in pictures)


def _needed(words: jax.Array | None) -> jax.Array:
    if words is None:
        raise gymnasium.error.ResetNeeded("call reset() before anything else")
    return words


def _masked(info: dict[str, Any], num_envs: int) -> dict[str, Any]:
    """The info with Gymnasium's mask for each entry: here every game tells everything."""
    return info | {f"_{name}": np.ones((num_envs,), bool) for name in info}


def _keys(config: TetrisConfig, words: jax.Array | None, seed: Any, num_envs: int) -> jax.Array:
    """uint32[num_envs, 2]: keys of the next episodes; without a seed they follow from the last ones."""
    if seed is None and words is not None:
        return _next_keys(words[:, _layout(config, 0)[0]["key"].words])
    if seed is None or isinstance(seed, (int, np.integer)):
        one = _seed_words(None if seed is None else int(seed))
        return _fold(np.tile(one, (num_envs, 1)), np.arange(num_envs, dtype=np.int32))
    if len(seed) != num_envs:
        raise ValueError(f"seed: {len(seed)} seeds for {num_envs} games; give one or as many")
    return _fold(np.stack([_seed_words(one) for one in seed]), np.zeros((num_envs,), np.int32))


def _to_arrays(config: TetrisConfig, words: jax.Array) -> dict[str, np.ndarray]:
    state = _to_state(config, np.asarray(words))
    return {field.name: np.array(getattr(state, field.name)) for field in dataclasses.fields(TetrisState)}


def _from_arrays(config: TetrisConfig, arrays: dict[str, np.ndarray], num_envs: int) -> jax.Array:
    shape = np.shape(arrays.get("fixed", np.zeros((num_envs, 0))))
    fields = _layout(config, shape[-1] if shape else 0)[0]
    if set(arrays) != set(fields):
        raise ValueError(f"state: fields missing or unknown: {', '.join(sorted(set(arrays) ^ set(fields)))}")
    columns = []
    for name, field in fields.items():
        array = np.asarray(arrays[name])
        expected = (num_envs, *field.shape)
        if array.shape != expected or array.dtype != field.dtype:
            raise ValueError(
                f"state[{name!r}] is {array.dtype}{list(array.shape)}: must be {field.dtype}{list(expected)}"
            )
        words = array if array.dtype == np.uint32 else array.astype(np.int32).view(np.uint32)
        columns.append(words.reshape(num_envs, -1))
    return jnp.asarray(np.concatenate(columns, axis=1))
