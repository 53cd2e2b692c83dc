"""Tetris as Gymnasium environments: one game, or N games in one compiled program.

A step is one call of a compiled function and one transfer from the device (see ``packing``).
"""

import functools
from collections.abc import Sequence
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium.vector.utils import batch_space

from dreamjax.config.schema import build, require
from dreamjax.envs.tetris import engine, observation, packing, render, rules
from dreamjax.envs.tetris.rules import TetrisConfig, TetrisState


def make_config(fields: dict[str, Any]) -> TetrisConfig:
    """Makes a configuration from keyword arguments.

    Raises:
      ConfigError: if a name is unknown or a value is not allowed.
    """
    return build(TetrisConfig, fields)


@functools.partial(jax.jit, static_argnums=0)
def _reset(config: TetrisConfig, keys: jax.Array, fixed: jax.Array, num_fixed: jax.Array) -> Any:
    def one(key: jax.Array, pieces: jax.Array, number: jax.Array) -> Any:
        state = engine.reset(config, key, pieces, num_pieces=number)
        return packing.to_words(state), packing.pack(config, state, packing.no_output(config, state))

    return jax.vmap(one)(keys, fixed, num_fixed)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _step(config: TetrisConfig, autoreset: bool, words: jax.Array, action: jax.Array) -> Any:
    def one(words: jax.Array, action: jax.Array) -> Any:
        advance = engine.auto_step if autoreset else engine.step
        state, output = advance(config, packing.to_state(config, words), action)
        return packing.to_words(state), packing.pack(config, state, output)

    return jax.vmap(one)(words, action)


@functools.partial(jax.jit, static_argnums=0)
def _look(config: TetrisConfig, words: jax.Array) -> jax.Array:
    def one(words: jax.Array) -> jax.Array:
        state = packing.to_state(config, words)
        return packing.pack(config, state, packing.no_output(config, state))

    return jax.vmap(one)(words)


@jax.jit
def _fold(words: jax.Array, index: jax.Array) -> jax.Array:
    def one(words: jax.Array, index: jax.Array) -> jax.Array:
        key = jax.random.wrap_key_data(words, impl="threefry2x32")
        return jax.random.key_data(jax.random.fold_in(key, index))

    return jax.vmap(one)(words, index)


_next_keys = jax.jit(jax.vmap(rules.next_key))


def _seed_words(seed: int | None) -> np.ndarray:
    """Returns uint32[2] from a seed of any size, or from fresh entropy if it is None."""
    return np.random.SeedSequence(seed).generate_state(2, np.uint32)


def _streams(pieces: Any, num_envs: int) -> tuple[np.ndarray, np.ndarray]:
    """Pads fixed sequences of pieces to a common power of two, so that few shapes are compiled.

    Args:
      pieces: None, one sequence for all games, or one sequence per game.

    Returns:
      The padded sequences, int8[num_envs, n], and their lengths, int32[num_envs].

    Raises:
      ValueError: if a sequence is not valid, or their number is neither 1 nor ``num_envs``.
    """
    if pieces is None:
        return np.zeros((num_envs, 0), np.int8), np.zeros((num_envs,), np.int32)
    is_nested = len(pieces) > 0 and np.ndim(pieces[0]) > 0
    rows = [engine.fixed_pieces(row) for row in (pieces if is_nested else [pieces])]
    if len(rows) == 1:
        rows = rows * num_envs
    if len(rows) != num_envs:
        raise ValueError(f"pieces: got {len(rows)} sequences, must be 1 or {num_envs}, the number of games")
    size = max(64, 1 << (max(map(len, rows)) - 1).bit_length())
    # The padding repeats the sequence, as the game does.
    return np.stack([np.resize(row, size) for row in rows]), np.array(list(map(len, rows)), "int32")


def _pieces_option(options: dict[str, Any] | None) -> Any:
    for name in options or {}:
        if name != "pieces":
            raise ValueError(f"reset option {name!r}: unknown, must be 'pieces'")
    return (options or {}).get("pieces")


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
    """One game of Tetris. Every field of `TetrisConfig` is a keyword argument.

    `reset(options={"pieces": [0, 3, ...]})` fixes the pieces of the episode (0..6, order I O T S Z J L); the sequence
    repeats. `info` contains `lines` (total), `lines_cleared` (by this step), `pieces` (placed), the parts of the reward
    as `reward/<name>`, and in `locked_position` `action_mask` (bool[height * width]).
    """

    metadata = {"render_modes": ["human", "ansi", "rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, *, render_mode: str | None = None, **fields: Any) -> None:
        self.config = make_config(fields)
        self.render_mode = render.checked_mode(render_mode)
        self.observation_space = observation.observation_space(self.config)
        self.action_space = observation.action_space(self.config)
        self._unpack = packing.Unpacker(self.config)
        self._words: jax.Array | None = None
        self._screen: render.Screen | None = None

    @property
    def state(self) -> TetrisState:
        """The state of the game, for the pure functions in `engine`."""
        return packing.to_state(self.config, _needed(self._words)[0])

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
        """Returns the whole state as NumPy arrays by field, each with a leading axis of size 1."""
        return packing.to_arrays(self.config, _needed(self._words))

    def set_state(self, arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Restores a state from `get_state` and returns its observation and info.

        Raises:
          ValueError: if a field is missing, unknown, or of another shape or dtype.
        """
        self._words = packing.from_arrays(self.config, arrays, 1)
        observed, _, info = self._unpack.one(_look(self.config, self._words))
        return observed, info

    def render(self) -> Any:
        if self.render_mode is None:
            return None
        picture = render.Picture.of(self.config, packing.to_state(self.config, np.asarray(_needed(self._words))[0]))
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

    Like `TetrisEnv`, except that `info` contains arrays with a leading axis of size N and, as in all Gymnasium vector
    environments, a mask `_<name>` for each of them. Game `i` of a seed does not depend on N, and game 0 is the game of
    `TetrisEnv` with that seed. `options={"pieces": ...}` takes one sequence for all games or one per game, and applies
    to one episode.
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
        self._unpack = packing.Unpacker(self.config)
        self._words: jax.Array | None = None

    @property
    def state(self) -> TetrisState:
        """The states of all games, for the pure functions in `engine`; every leaf has a leading axis of size N."""
        return packing.to_state(self.config, _needed(self._words))

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
        """The states of all games as `pure_step` takes them, uint32[N, n]."""
        return _needed(self._words)

    def pure_step(self, words: jax.Array, actions: jax.Array) -> tuple[jax.Array, jax.Array, Any, jax.Array]:
        """`step` as a pure function, for use inside a compiled program; `follow` then updates the environment.

        Returns:
          The next words, uint32[N, n]; the packed outcome, uint8[N, n], which `follow` reads; the observations; and
          which games have ended, bool[N].
        """
        words, packed = _step(self.config, True, words, actions)
        state = packing.to_state(self.config, words)
        observed = jax.vmap(functools.partial(engine.observe, self.config))(state)
        return words, packed, observed, state.terminated | state.truncated

    def follow(self, words: jax.Array, packed: jax.Array) -> list[tuple[Any, np.ndarray, np.ndarray, np.ndarray, Any]]:
        """Applies K calls of `pure_step` to the environment and returns the results of the same K calls of `step`.

        Args:
          words: uint32[N, n], the words that the last call returned.
          packed: uint8[K, N, n], the packed outcomes of the calls.
        """
        self._words = words
        return [self._unpacked(one) for one in np.asarray(packed)]

    def _unpacked(self, packed: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, Any]:
        observed, numbers, info = self._unpack(packed)
        reward = numbers["reward"].astype(np.float64)
        info = _masked(info, self.num_envs)
        return observed, reward, numbers["terminated"] != 0, numbers["truncated"] != 0, info

    def get_state(self) -> dict[str, np.ndarray]:
        """Returns the whole state as NumPy arrays by field; `set_state` restores it bit for bit."""
        return packing.to_arrays(self.config, _needed(self._words))

    def set_state(self, arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Restores a state from `get_state` and returns its observations and infos.

        Raises:
          ValueError: if a field is missing, unknown, or of another shape or dtype.
        """
        self._words = packing.from_arrays(self.config, arrays, self.num_envs)
        observed, _, info = self._unpack(_look(self.config, self._words))
        return observed, _masked(info, self.num_envs)

    def render(self) -> tuple[Any, ...] | None:
        if self.render_mode is None:
            return None
        words = np.asarray(_needed(self._words))
        pictures = [render.Picture.of(self.config, packing.to_state(self.config, row)) for row in words]
        return tuple(one.text() if self.render_mode == "ansi" else one.rgb() for one in pictures)


def _needed(words: jax.Array | None) -> jax.Array:
    if words is None:
        raise gymnasium.error.ResetNeeded("call reset() before anything else")
    return words


def _masked(info: dict[str, Any], num_envs: int) -> dict[str, Any]:
    """Adds Gymnasium's mask for each entry of info; every game reports every entry."""
    return info | {f"_{name}": np.ones((num_envs,), bool) for name in info}


def _keys(config: TetrisConfig, words: jax.Array | None, seed: Any, num_envs: int) -> jax.Array:
    """Returns uint32[num_envs, 2], keys of the next episodes; without a seed they derive from the current ones."""
    if seed is None and words is not None:
        return _next_keys(words[:, packing.layout(config, 0)[0]["key"].words])
    if seed is None or isinstance(seed, (int, np.integer)):
        one = _seed_words(None if seed is None else int(seed))
        return _fold(np.tile(one, (num_envs, 1)), np.arange(num_envs, dtype=np.int32))
    if len(seed) != num_envs:
        raise ValueError(f"seed: got {len(seed)} seeds, must be 1 or {num_envs}, the number of games")
    return _fold(np.stack([_seed_words(one) for one in seed]), np.zeros((num_envs,), np.int32))
