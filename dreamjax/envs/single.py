"""One environment in the process that steps it: what it returns is brought to its spaces, or refused.

The same class is used without workers and in them, so both take and refuse the same. Nothing here imports jax.
"""

from __future__ import annotations

import copy
import re
import traceback
from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from dreamjax.envs.checks import EnvError, fetch, leaves, path_name

MASK_KEY = "action_mask"  # as in dreamjax.types, which imports jax
LOG = "log/"  # observation entries under it are logged, not encoded
ENDS = ("terminated", "truncated")
RAW_REWARD = "raw_reward"
NUMERIC = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
LARGEST = float(np.finfo(np.float32).max)
OLD_API = (
    "it follows the API of Gym before 0.26 ({}): reset(seed=..., options=...) must return (observation, info), and step "
    "(observation, reward, terminated, truncated, info); change it, or wrap it (shimmy has wrappers for old environments)"
)


class Selection(NamedTuple):
    """Which observation entries are taken: regular expressions of whole names, ``env.keys`` and ``env.ignore``."""

    keys: str = ".*"
    ignore: str = ""

    @classmethod
    def of(cls, config: Any) -> Selection:
        """Returns the selection of an ``EnvConfig``."""
        return cls(config.keys, config.ignore)

    def keeps(self, name: str) -> bool:
        """Whether an entry is taken; ``keys`` chooses among what is observed, so not about masks and "log/"."""
        special = name == MASK_KEY or name.startswith(LOG)
        chosen = special or re.fullmatch(self.keys, name) is not None
        return chosen and not (self.ignore and re.fullmatch(self.ignore, name))

    def kept(self, names: list[str]) -> list[str]:
        """Returns the names that are taken. Raises EnvError if ``ignore`` matches none."""
        if self.ignore and not any(re.fullmatch(self.ignore, name) for name in names):
            there = ", ".join(names)
            raise EnvError(f"env.ignore={self.ignore!r} matches no observation entry: there are {there}")
        return [name for name in names if self.keeps(name)]


class CheckedEnv(gymnasium.Wrapper):
    """An environment whose results have the types of its spaces.

    Observations become arrays of the shapes and dtypes of their spaces if no value changes (a float may be rounded to
    its space's float). Rewards become floats, ends become bools: one number of any type is taken. Of an info, the numbers
    and the action mask are kept; those of a dictionary inside it are named by "/". Where a wrapper clips or normalizes
    rewards, the info has "raw_reward", the reward before that.

    Attributes:
        index: index of the environment.
        busy: whether the environment is being stepped or reset.

    Raises:
        EnvError: on anything else, with environment, entry, value and what to do.
    """

    def __init__(self, env: gymnasium.Env, index: int, selection: Selection | None = None) -> None:
        super().__init__(env)
        self.index, self.busy = index, False
        self._raw = _record_rewards(env)
        self.observation_space = _without_ignored(env.observation_space, selection or Selection(), ())

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        result = self._call(self.env.reset, seed=seed, options=options)
        try:
            if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping)):
                raise EnvError(OLD_API.format("reset returned the observation alone"))
            if self._raw is not None:
                self._raw.take()
            return native_observation(self.observation_space, result[0]), info_numbers(result[1])
        except EnvError as error:
            raise self._named(error) from error

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        result = self._call(self.env.step, action)
        try:
            if not isinstance(result, tuple) or len(result) != 5:
                if isinstance(result, tuple) and len(result) == 4:
                    raise EnvError(OLD_API.format("step returned four values"))
                count = len(result) if isinstance(result, tuple) else type(result).__name__
                raise EnvError(f"step returned {count}, not (observation, reward, terminated, truncated, info)")
            observation, reward, terminated, truncated, info = result
            if not isinstance(info, Mapping):
                raise EnvError(f"the info of a step is {_shown(info)}: return a dictionary")
            ends = [bool(one_number(value, name)) for name, value in zip(ENDS, (terminated, truncated), strict=True)]
            observation = native_observation(self.observation_space, observation)
            numbers = info_numbers(info)
            if self._raw is not None:
                numbers[RAW_REWARD] = self._raw.take()
            return observation, finite(one_number(reward, "the reward")), *ends, numbers
        except EnvError as error:
            raise self._named(error) from error

    def _call(self, function: Any, *arguments: Any, **keywords: Any) -> Any:
        self.busy = True
        try:
            result = function(*arguments, **keywords)
        except (TypeError, ValueError) as error:
            reason = _old_api(error)
            if reason:
                raise self._named(EnvError(OLD_API.format(reason))) from error
            raise
        self.busy = False
        return result

    def _named(self, error: EnvError) -> EnvError:
        return EnvError(f"environment {self.index}: {error}")


class RawRewards(gymnasium.Wrapper):
    """Sums the rewards of the environment inside it, which one step of a wrapper around it may step several times."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self._sum = 0.0

    def step(self, action: Any) -> Any:
        result = self.env.step(action)
        if isinstance(result, tuple) and len(result) == 5:  # CheckedEnv refuses anything else
            self._sum += one_number(result[1], "the reward")
        return result

    def take(self) -> float:
        """Returns the sum since the last call."""
        result, self._sum = self._sum, 0.0
        return result


def clips_reward(wrapper: gymnasium.Wrapper) -> bool:
    """Whether a wrapper clips or normalizes rewards: Gymnasium's, or one that is called so."""
    name = type(wrapper).__name__
    return "Reward" in name and ("Clip" in name or "Normalize" in name)


def _record_rewards(env: gymnasium.Env) -> RawRewards | None:
    """Records rewards inside the innermost wrapper that clips or normalizes them; None if there is none."""
    innermost = None
    while isinstance(env, gymnasium.Wrapper):
        innermost = env if clips_reward(env) else innermost
        env = env.env
    if innermost is None:
        return None
    innermost.env = RawRewards(innermost.env)
    return innermost.env


def _without_ignored(space: spaces.Space, selection: Selection, path: tuple[Any, ...]) -> spaces.Space:
    """Returns the space with a constant for each entry that is left out, which may have any type and shape."""
    if isinstance(space, spaces.Dict):
        result: Any = copy.copy(space)  # keeps the order of the entries
        result.spaces = {n: _without_ignored(child, selection, (*path, n)) for n, child in space.spaces.items()}
        return result
    if isinstance(space, spaces.Tuple):
        return spaces.Tuple([_without_ignored(child, selection, (*path, i)) for i, child in enumerate(space.spaces)])
    return space if not path or selection.keeps(path_name(path)) else Ignored()


class Ignored(spaces.Discrete):
    """The space of an entry that is left out: 0."""

    def __init__(self) -> None:
        super().__init__(1)


def native_observation(space: spaces.Space, observation: Any) -> Any:
    """Returns the observation in the nesting of its space, each numeric entry as an array of its shape and dtype.

    Raises:
        EnvError: if an entry is missing, has another shape, or values that its dtype cannot hold.
    """
    for path, child in leaves(space):
        if not isinstance(child, Ignored):
            fetch(observation, path)
    return _native(space, observation, ())


def _native(space: spaces.Space, value: Any, path: tuple[Any, ...]) -> Any:
    if isinstance(space, Ignored):
        return np.int64(0)
    if isinstance(space, spaces.Dict):
        return {name: _native(child, _at(value, name), (*path, name)) for name, child in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_native(child, _at(value, i), (*path, i)) for i, child in enumerate(space.spaces))
    return native_array(space, value, path_name(path)) if isinstance(space, NUMERIC) else value


def _at(value: Any, key: Any) -> Any:
    """Returns an entry; None if it is missing, which only one that is left out may be."""
    try:
        return value[key]
    except (KeyError, IndexError, TypeError):
        return None


def native_array(space: spaces.Space, value: Any, name: str) -> np.ndarray:
    """Returns one entry as an array of the space's shape and dtype; see ``native_observation``."""
    entry, shape, dtype = f"observation entry {name!r}", tuple(space.shape or ()), np.dtype(space.dtype)
    try:
        array = np.asarray(value)
    except ValueError:
        raise EnvError(f"{entry} is no array but {_shown(value)}: its space says {shape}") from None
    if array.dtype.kind not in "biuf":
        raise EnvError(f"{entry} is {_shown(value)}: its space says numbers ({dtype}) of shape {shape}")
    if array.shape != shape:
        if array.size != 1 or np.prod(shape, dtype=np.int64) != 1:
            raise EnvError(f"{entry} has shape {array.shape}, its space says {shape}")
        array = array.reshape(shape)
    if array.dtype == dtype:
        return array
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
    wrong = cast != array if dtype.kind != "f" else np.zeros(shape, bool)
    if np.any(wrong):
        place = tuple(map(int, np.argwhere(wrong)[0]))
        what = f"{entry} is {array[place]} ({array.dtype}) at {list(place)}"
        raise EnvError(f"{what}, which {dtype} of its space cannot hold: return {dtype}, or widen the space")
    return cast


def one_number(value: Any, what: str) -> float:
    """Returns a number, an array of one number or the like as a float.

    Raises:
        EnvError: on None, text, or several numbers.
    """
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.size != 1 or array.dtype.kind not in "biuf":
        shape = f" of shape {array.shape}" if array.size != 1 else ""
        raise EnvError(f"{what} is {_shown(value)}{shape}: return one number")
    return float(array.reshape(()))


def finite(reward: float) -> float:
    """Returns the reward; raises ``EnvError`` if it is not a finite float32."""
    if not abs(reward) <= LARGEST:
        raise EnvError(f"the reward is {reward}: not finite in float32, return a finite number")
    return reward


def info_numbers(info: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the numbers of an info, those of dictionaries in it by names joined with "/", and its action mask."""
    result: dict[str, Any] = {}
    for name, value in info.items():
        if isinstance(value, Mapping):
            result |= info_numbers(value, f"{prefix}{name}/")
        elif name == MASK_KEY and not prefix:
            if value is not None:
                result[name] = np.asarray(value).reshape(-1) != 0
        elif isinstance(value, bool | int | float | np.generic) or hasattr(value, "__array__"):
            array = np.asarray(value)
            if array.size == 1 and array.dtype.kind in "biuf":
                result[f"{prefix}{name}"] = float(array.reshape(()))
    return result


def _old_api(error: Exception) -> str:
    """Returns how an exception shows the old API, or "" if it does not: Gymnasium's wrappers unpack the results."""
    text, frames = str(error), traceback.extract_tb(error.__traceback__)
    for name in ("seed", "options"):
        if isinstance(error, TypeError) and f"unexpected keyword argument '{name}'" in text:
            return f"reset takes no {name}"
    unpacked = "to unpack" in text or "cannot unpack" in text
    if unpacked and frames and "gymnasium" in frames[-1].filename.replace("\\", "/").split("/"):
        four = "expected 5, got 4" in text
        return "step returned four values" if four else "reset returned the observation alone"
    return ""


def _shown(value: Any) -> str:
    """Returns a value in words of at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
