"""Tetris as Gymnasium environments: one game, or N games in one compiled program.

A step is one call of a compiled function and one transfer from the device: what Python needs comes
back packed into one array of bytes.
"""

import dataclasses
import functools
from typing import Any, ClassVar

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.vector.utils import batch_space

from dreamjax.envs.tetris import engine, observation, render, rules
from dreamjax.envs.tetris.reward import PARTS
from dreamjax.envs.tetris.rules import ConfigError, TetrisConfig, TetrisState

_NUMBERS = ("reward", *PARTS, "terminated", "truncated", "lines", "lines_cleared", "pieces")


def make_config(fields: dict[str, Any]) -> TetrisConfig:
    """A configuration from keyword arguments.

    Raises:
      ConfigError: when a name is unknown or a value is not allowed.
    """
    names = [field.name for field in dataclasses.fields(TetrisConfig)]
    for name in fields:
        if name not in names:
            raise ConfigError(f"{name}={fields[name]!r}: unknown; known are {', '.join(names)}")
    return TetrisConfig(**fields)


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


@functools.partial(jax.jit, static_argnums=0)
def _reset(config: TetrisConfig, keys: jax.Array, fixed: jax.Array, num_fixed: jax.Array) -> Any:
    def one(key: jax.Array, pieces: jax.Array, number: jax.Array) -> Any:
        state = engine.reset(config, key, pieces, num_pieces=number)
        return state, _pack(config, state, _silence(config, state))

    return jax.vmap(one)(keys, fixed, num_fixed)


@functools.partial(jax.jit, static_argnums=0)
def _step(config: TetrisConfig, state: TetrisState, action: jax.Array) -> Any:
    def one(state: TetrisState, action: jax.Array) -> Any:
        state, output = engine.step(config, state, action)
        return state, _pack(config, state, output)

    return jax.vmap(one)(state, action)


@functools.partial(jax.jit, static_argnums=0)
def _auto_step(config: TetrisConfig, state: TetrisState, action: jax.Array) -> Any:
    def one(state: TetrisState, action: jax.Array) -> Any:
        state, output = engine.auto_step(config, state, action)
        return state, _pack(config, state, output)

    return jax.vmap(one)(state, action)


@functools.partial(jax.jit, static_argnums=0)
def _look(config: TetrisConfig, state: TetrisState) -> jax.Array:
    return jax.vmap(lambda one: _pack(config, one, _silence(config, one)))(state)


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
        self._has_mask = config.action_mode == "locked_position"

    def __call__(self, packed: jax.Array) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Observation and numbers by name, each with a leading axis of games; all writable."""
        raw = np.asarray(packed)
        words = np.ascontiguousarray(raw[:, : self._words]).view(np.float32)
        end = self._words + int(np.prod(self._board))
        observed = {
            "board": raw[:, self._words : end].reshape(-1, *self._board).copy(),
            "piece": words[:, : self._num_piece].copy(),
        }
        if self._has_mask:
            observed["action_mask"] = raw[:, end:].astype(np.int8)
        numbers = {name: words[:, self._num_piece + i] for i, name in enumerate(_NUMBERS)}
        return observed, numbers


def _info(observed: dict[str, np.ndarray], numbers: dict[str, np.ndarray]) -> dict[str, Any]:
    info: dict[str, Any] = {name: numbers[name].astype(np.int64) for name in ("lines", "lines_cleared", "pieces")}
    for name in PARTS:
        info[f"reward/{name}"] = numbers[name].astype(np.float64)
    if "action_mask" in observed:
        info["action_mask"] = observed["action_mask"].astype(bool)
    return info


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
    """One game. Every field of ``TetrisConfig`` is a keyword.

    ``reset(options={"pieces": [0, 3, ...]})`` fixes the pieces of the episode (0..6, order
    I O T S Z J L; they repeat). ``info`` holds ``lines`` (total), ``lines_cleared`` (by this step),
    ``pieces`` (placed), the parts of the reward as ``reward/<name>``, and in `locked_position`
    ``action_mask`` (bool[height * width]).
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["human", "ansi", "rgb_array"], "render_fps": 30}

    def __init__(self, *, render_mode: str | None = None, **fields: Any) -> None:
        self.config = make_config(fields)
        self.render_mode = render.checked_mode(render_mode)
        self.observation_space = observation.observation_space(self.config)
        self.action_space = observation.action_space(self.config)
        self._unpack = _Unpacker(self.config)
        self._state: TetrisState | None = None
        self._screen: render.Screen | None = None

    @property
    def state(self) -> TetrisState:
        """The state of the game; a batch of one is how it is kept, this is the one."""
        return jax.tree.map(lambda leaf: leaf[0], self._batch())

    def _batch(self) -> TetrisState:
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset() before anything else")
        return self._state

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        fixed, num_fixed = _streams(_pieces_option(options), 1)
        if seed is None and self._state is not None:
            keys = _next_keys(self._state.key)
        else:
            keys = _fold(_seed_words(seed)[None], np.zeros((1,), np.int32))
        self._state, packed = _reset(self.config, keys, fixed, num_fixed)
        observed, info, _ = self._read(packed)
        if self.render_mode == "human":
            self.render()
        return observed, info

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        action = np.asarray(action)
        _check_actions(self.config, action, self.action_space.shape or ())
        self._state, packed = _step(self.config, self._batch(), action[None])
        observed, info, numbers = self._read(packed)
        if self.render_mode == "human":
            self.render()
        is_over = bool(numbers["terminated"][0]), bool(numbers["truncated"][0])
        return observed, float(numbers["reward"][0]), *is_over, info

    def _read(self, packed: jax.Array) -> tuple[dict[str, np.ndarray], dict[str, Any], Any]:
        observed, numbers = self._unpack(packed)
        info = {
            name: value[0].item() if value.ndim == 1 else value[0] for name, value in _info(observed, numbers).items()
        }
        return {name: value[0] for name, value in observed.items()}, info, numbers

    def get_state(self) -> dict[str, np.ndarray]:
        """The whole state as arrays with a leading axis of one, for ``set_state``."""
        return _to_arrays(self._batch())

    def set_state(self, arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Goes on from a state of ``get_state``; returns its observation and info."""
        self._state = _from_arrays(self.config, arrays, 1)
        observed, info, _ = self._read(_look(self.config, self._state))
        return observed, info

    def render(self) -> Any:
        if self.render_mode is None:
            return None
        picture = render.Picture.of(self.config, self.state)
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

    As ``TetrisEnv``; ``info`` holds arrays with a leading axis of N (and, as Gymnasium's vector
    environments do, a mask ``_<name>`` for each). Game ``i`` of seed ``s`` does not depend on N, and
    game 0 is the game of ``TetrisEnv`` with that seed. ``options={"pieces": ...}`` takes one
    sequence for all games or one for each, and holds until the episode ends.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 30,
        "autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP,
    }

    def __init__(self, num_envs: int = 1, *, render_mode: str | None = None, **fields: Any) -> None:
        if num_envs < 1:
            raise ConfigError(f"num_envs={num_envs!r}: must be at least 1")
        self.config = make_config(fields)
        self.num_envs = num_envs
        self.render_mode = render.checked_mode(render_mode, allowed=("ansi", "rgb_array"))
        self.single_observation_space = observation.observation_space(self.config)
        self.single_action_space = observation.action_space(self.config)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._unpack = _Unpacker(self.config)
        self._state: TetrisState | None = None

    @property
    def state(self) -> TetrisState:
        """The states of all games; every leaf has a leading axis of N."""
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset() before anything else")
        return self._state

    def _keys(self, seed: int | list[int | None] | None) -> Any:
        """uint32[N, 2]: keys of the next episodes."""
        index = np.arange(self.num_envs, dtype=np.int32)
        if seed is None and self._state is not None:
            return _next_keys(self._state.key)
        if seed is None or isinstance(seed, (int, np.integer)):
            words = _seed_words(None if seed is None else int(seed))
            return _fold(np.broadcast_to(words, (self.num_envs, 2)), index)
        if len(seed) != self.num_envs:
            raise ValueError(f"seed: {len(seed)} seeds for {self.num_envs} games")
        words = np.stack([_seed_words(one) for one in seed])
        return _fold(words, np.zeros_like(index))

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed if isinstance(seed, (int, np.integer)) else None)
        fixed, num_fixed = _streams(_pieces_option(options), self.num_envs)
        self._state, packed = _reset(self.config, self._keys(seed), fixed, num_fixed)
        observed, info, _ = self._read(packed)
        return observed, info

    def step(self, actions: Any) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        actions = np.asarray(actions)
        _check_actions(self.config, actions, self.action_space.shape or (self.num_envs,))
        self._state, packed = _auto_step(self.config, self.state, actions)
        observed, info, numbers = self._read(packed)
        reward = numbers["reward"].astype(np.float64)
        return observed, reward, numbers["terminated"] != 0, numbers["truncated"] != 0, info

    def _read(self, packed: jax.Array) -> tuple[dict[str, np.ndarray], dict[str, Any], Any]:
        observed, numbers = self._unpack(packed)
        info = _info(observed, numbers)
        info |= {f"_{name}": np.ones((self.num_envs,), bool) for name in info}
        return observed, info, numbers

    def get_state(self) -> dict[str, np.ndarray]:
        """The whole state as numpy arrays by field: with ``set_state`` the games go on bit for bit."""
        return _to_arrays(self.state)

    def set_state(self, arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Goes on from a state of ``get_state``; returns its observations and infos.

        Raises:
          ValueError: when a field is missing, unknown, or of another shape or dtype.
        """
        self._state = _from_arrays(self.config, arrays, self.num_envs)
        observed, info, _ = self._read(_look(self.config, self._state))
        return observed, info

    def render(self) -> tuple[Any, ...] | None:
        if self.render_mode is None:
            return None
        states = _to_arrays(self.state)
        pictures = []
        for i in range(self.num_envs):
            one = TetrisState(**{name: value[i] for name, value in states.items()})
            picture = render.Picture.of(self.config, one)
            pictures.append(picture.text() if self.render_mode == "ansi" else picture.rgb())
        return tuple(pictures)


def _to_arrays(state: TetrisState) -> dict[str, np.ndarray]:
    arrays = jax.device_get(state)
    return {f.name: np.array(getattr(arrays, f.name)) for f in dataclasses.fields(TetrisState)}


def _from_arrays(config: TetrisConfig, arrays: dict[str, np.ndarray], num_envs: int) -> TetrisState:
    fixed = np.asarray(arrays.get("fixed", np.zeros((num_envs, 0), np.int8)))
    blank = jax.eval_shape(
        jax.vmap(lambda key, pieces: engine.reset(config, key, pieces)),
        jax.ShapeDtypeStruct((num_envs, 2), np.uint32),
        jax.ShapeDtypeStruct((num_envs, *fixed.shape[1:]), np.int8),
    )
    expected = {f.name: getattr(blank, f.name) for f in dataclasses.fields(TetrisState)}
    if set(arrays) != set(expected):
        differing = sorted(set(arrays) ^ set(expected))
        raise ValueError(f"state: fields missing or unknown: {', '.join(differing)}")
    for name, leaf in expected.items():
        array = np.asarray(arrays[name])
        if array.shape != leaf.shape or array.dtype != leaf.dtype:
            raise ValueError(
                f"state[{name!r}] is {array.dtype}{list(array.shape)}: must be {leaf.dtype}{list(leaf.shape)}"
            )
    return TetrisState(**{name: jnp.array(arrays[name]) for name in expected})
