"""The state of a game and the outcome of a step, packed into one array each.

A call of a compiled function costs time for each array that it takes or returns. So the Gymnasium environments hold
states as rows of words, uint32[n], and everything that a step returns to Python comes as one row of bytes, uint8[n].
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.envs.tetris import engine, observation
from dreamjax.envs.tetris.reward import PARTS
from dreamjax.envs.tetris.rules import TetrisConfig, TetrisState

_COUNTS = ("lines", "lines_cleared", "pieces")
_REWARDS = tuple(f"reward/{name}" for name in PARTS)
_NUMBERS = ("reward", *_REWARDS, "terminated", "truncated", *_COUNTS)


def pack(config: TetrisConfig, state: TetrisState, output: engine.StepOutput) -> jax.Array:
    """Packs everything that a step returns to Python into uint8[n], numbers first."""
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


def no_output(config: TetrisConfig, state: TetrisState) -> engine.StepOutput:
    """Returns the output of a step in which nothing happens, as after a reset."""
    zero = jnp.float32(0.0)
    parts = {name: zero for name in PARTS}
    return engine.StepOutput(zero, state.terminated, state.truncated, state.last_lines, jnp.bool_(False), parts)


class Unpacker:
    """The inverse of ``pack``, for a batch of games."""

    def __init__(self, config: TetrisConfig) -> None:
        self._num_piece = observation.piece_size(config)
        self._words = 4 * (self._num_piece + len(_NUMBERS))
        self._board = (observation.num_channels(config), config.height, config.width)
        self._end = self._words + int(np.prod(self._board))
        self._has_mask = config.action_mode == "locked_position"

    def __call__(self, packed: jax.Array) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any]]:
        """Returns observation, numbers by name, and info, each with a leading axis of games; all arrays are writable."""
        raw = np.asarray(packed)
        words = np.ascontiguousarray(raw[:, : self._words]).view(np.float32)
        observed = self._observed(raw, words)
        numbers = dict(zip(_NUMBERS, words[:, self._num_piece :].T, strict=True))
        info: dict[str, Any] = {name: numbers[name].astype(np.int64) for name in _COUNTS}
        info |= {name: numbers[name].astype(np.float64) for name in _REWARDS}
        if self._has_mask:
            info["action_mask"] = observed["action_mask"].astype(bool)
        return observed, numbers, info

    def one(self, packed: jax.Array) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, Any]]:
        """Returns the same for a batch of one game, without the axis and with Python numbers."""
        raw = np.asarray(packed)[0]
        words = raw[: self._words].view(np.float32)
        observed = self._observed(raw, words)
        numbers = dict(zip(_NUMBERS, words[self._num_piece :].tolist(), strict=True))
        info: dict[str, Any] = {name: int(numbers[name]) for name in _COUNTS}
        info |= {name: numbers[name] for name in _REWARDS}
        if self._has_mask:
            info["action_mask"] = observed["action_mask"].astype(bool)
        return observed, numbers, info

    def _observed(self, raw: np.ndarray, words: np.ndarray) -> dict[str, np.ndarray]:
        board = raw[..., self._words : self._end].reshape(*raw.shape[:-1], *self._board)
        observed = {"board": board.copy(), "piece": words[..., : self._num_piece].copy()}
        if self._has_mask:
            observed["action_mask"] = raw[..., self._end :].astype(np.int8)
        return observed


_RENAMED = {"codes": "legal_cells"}
"""Fields of saved states whose names have changed."""


class _Field(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    words: slice


@functools.cache
def layout(config: TetrisConfig, num_fixed: int) -> tuple[dict[str, _Field], int]:
    """Returns the position of each field of a state in its row of words, and the number of words."""
    key = jax.ShapeDtypeStruct((2,), np.uint32)
    fixed = jax.ShapeDtypeStruct((num_fixed,), np.int8)
    state = jax.eval_shape(lambda key, fixed: engine.reset(config, key, fixed), key, fixed)
    fields, start = {}, 0
    for name in (field.name for field in dataclasses.fields(TetrisState)):
        leaf = getattr(state, name)
        fields[name] = _Field(leaf.shape, np.dtype(leaf.dtype), slice(start, start + leaf.size))
        start += leaf.size
    return fields, start


def to_words(state: TetrisState) -> jax.Array:
    """Packs the state of one game into uint32[n]."""

    def words(leaf: jax.Array) -> jax.Array:
        return leaf.reshape(-1).astype(jnp.int32).view(jnp.uint32)

    leaves = [getattr(state, field.name) for field in dataclasses.fields(TetrisState)]
    return jnp.concatenate([leaf.reshape(-1) if leaf.dtype == jnp.uint32 else words(leaf) for leaf in leaves])


def to_state(config: TetrisConfig, words: Any) -> TetrisState:
    """Unpacks states uint32[..., n] (JAX or NumPy), the inverse of `to_words`."""
    num_fixed = words.shape[-1] - layout(config, 0)[1]
    leaves = {}
    for name, field in layout(config, num_fixed)[0].items():
        leaf = words[..., field.words].reshape((*words.shape[:-1], *field.shape))
        leaves[name] = leaf if field.dtype == np.uint32 else leaf.view(np.int32).astype(field.dtype)
    return TetrisState(**leaves)


def to_arrays(config: TetrisConfig, words: jax.Array) -> dict[str, np.ndarray]:
    """Returns states uint32[N, n] as NumPy arrays by field, each with a leading axis of size N."""
    state = to_state(config, np.asarray(words))
    return {field.name: np.array(getattr(state, field.name)) for field in dataclasses.fields(TetrisState)}


def from_arrays(config: TetrisConfig, arrays: dict[str, np.ndarray], num_envs: int) -> jax.Array:
    """Packs the arrays of ``to_arrays`` into uint32[num_envs, n].

    Raises:
      ValueError: if a field is missing, unknown, or of another shape or dtype.
    """
    arrays = {_RENAMED.get(name, name): array for name, array in arrays.items()}
    shape = np.shape(arrays.get("fixed", np.zeros((num_envs, 0))))
    fields = layout(config, shape[-1] if shape else 0)[0]
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
