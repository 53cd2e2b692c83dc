"""A Gymnasium vector environment as streams of records.

Gymnasium has three autoreset modes, which report the end of an episode in different ways. The adapter makes the same
stream of records from each: a record with ``is_last`` contains the terminal observation, and the next record, with
``is_first`` and reward 0, the observation after the reset. With NEXT_STEP both are ``current`` records, one step apart.
With SAME_STEP and DISABLED the terminal record is returned as ``final``, in the same step as the record of the reset.
"""

from __future__ import annotations

import contextlib
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from dreamjax.config import EnvConfig
from dreamjax.envs.action_codec import ActionCodec
from dreamjax.envs.checks import EnvError, EnvWarning
from dreamjax.envs.infos import Infos, final_infos, mask_size, masks, numbers, overwrite
from dreamjax.envs.obs_codec import ObsCodec
from dreamjax.envs.single import RAW_REWARD, CheckedEnv, finite, one_number
from dreamjax.envs.values import ValueRanges
from dreamjax.types import MASK_KEY, ActionSpec, EnvSpec, ObsSpec, Records

ROW_FIELDS = ("env", "reward", "is_first", "is_last", "is_terminal")
EPISODE_INFO = ("episode_return", "episode_length")
Watch = Callable[[Callable[[], str]], contextlib.AbstractContextManager[None]]
StepResult = tuple[Any, Any, Any, Any, Infos]  # returned by the step of a vector environment
FINAL_OBS = ("final_obs", "final_observation")


class Adapter:
    """A Gymnasium vector environment as streams of records.

    Args:
        env: the vector environment, in any autoreset mode (``metadata["autoreset_mode"]``).
        name: name of the environment in messages.
        seed: seed of the first reset.
        config: how observations are read; see ``ObsCodec``.

    Attributes:
        spec: specification of observations and actions.
        num_envs: N.
        env: the vector environment.
        watch: makes a context manager, entered for every step and reset, from the function ``place``; see
            ``dreamjax.training.runtime.watchdog``.

    Raises:
        EnvError: if a space is not supported or the reset fails.
    """

    def __init__(
        self,
        env: VectorEnv,
        *,
        name: str = "environment",
        seed: int | None = None,
        config: EnvConfig | None = None,
    ) -> None:
        self.env, self.num_envs, self.name = env, env.num_envs, name
        self.watch: Watch = lambda place: contextlib.nullcontext()
        self._seed = seed
        self._mode = _autoreset_mode(env, name)
        self._steps = 0
        self._ended = np.zeros(self.num_envs, bool)  # whether the current record is the last of its episode
        self._return = np.zeros(self.num_envs)
        self._length = np.zeros(self.num_envs)
        self._info_names: dict[str, None] = {}
        self._current: Records | None = None
        try:
            self.actions = ActionCodec(env.single_action_space)
            self.observations = ObsCodec(env.single_observation_space, mask_size=self.actions.mask_size, config=config)
            _, infos = env.reset(seed=seed)
        except EnvError as error:
            raise EnvError(f"{name}: {error}") from error
        except Exception as error:
            raise EnvError(f"{name} cannot be reset: {type(error).__name__}: {error}") from error
        for note in self.observations.notes:
            warnings.warn(f"{name}: {note}", EnvWarning, stacklevel=2)
        self._ranges = ValueRanges(self.observations.spec)
        obs, parts = dict(self.observations.spec), self.actions.spec.parts
        size = mask_size(infos) if MASK_KEY not in obs else None
        if size is None and MASK_KEY not in obs and self.actions.mask_size and not hasattr(env, "get_state"):
            size = self._mask_size_of_steps()
        self._mask_in_info = size is not None and size == self.actions.mask_size
        if self._mask_in_info:
            obs[MASK_KEY] = ObsSpec("mask", (typing.cast(int, size),), "bool")
        elif size is not None or self.observations.unused_mask:
            takes = self.actions.mask_size or "no"
            message = f"{name}: {MASK_KEY} is ignored, the action space {env.single_action_space} takes {takes} entries"
            warnings.warn(message, EnvWarning, stacklevel=2)
        if MASK_KEY in obs:
            parts = tuple(replace(part, masked=part.kind == "categorical") for part in parts)
        self._mask_may_come = MASK_KEY not in obs and self.actions.mask_size is not None
        self.spec = EnvSpec(obs, ActionSpec(parts))

    def _mask_size_of_steps(self) -> int | None:
        """Returns the size of an action mask that only the infos of steps have, from one step; the next call resets."""
        with contextlib.suppress(Exception):  # the first step of the run reports it
            infos = self.env.step(self.actions.decode(np.zeros((self.num_envs, self.actions.spec.record_size))))[-1]
            return mask_size(infos)
        return None

    def reset(self, seed: int | None = None) -> Records:
        """Starts a new episode in every environment; all records are ``is_first`` with reward 0.

        Without a seed, the first reset uses the seed of the constructor, and later ones continue the random generators
        of the environments.
        """
        seed, self._seed = (self._seed if seed is None else seed), None
        with self._located():
            observation, infos = self.env.reset(seed=seed)
            obs = self._encode(observation, infos)
        none = np.zeros(self.num_envs, bool)
        self._ended = none
        self._return, self._length = np.zeros(self.num_envs), np.zeros(self.num_envs)
        zeros = np.zeros(self.num_envs)
        self._current = self._records(obs, zeros, ~none, none, none, self._numbers(observation, infos))
        return self._current

    def step(self, action: np.ndarray) -> tuple[Records | None, Records]:
        """Steps every environment.

        Args:
            action: action records ``[N, K]``, int32 or float32; rows whose current record is ``is_last`` are ignored.

        Returns:
            ``final``: the terminal records of the environments that ended and were reset in this step (``env`` contains
            their indices), or None. ``current``: one record per environment, from which the next action is chosen.
            Their ``info`` is float64: the numbers in the info of the environment (NaN if missing), and
            ``episode_return`` (before wrappers that clip or normalize rewards) and ``episode_length`` (steps) so far.

        Raises:
            EnvError: if an observation or reward is no number, has NaN, infinity, a wrong shape or a class out of range;
                the message names environment, entry, step, value and what to do.
            ValueError: if an action record is not valid.
        """
        if len(action) != self.num_envs:
            raise ValueError(f"action records have {len(action)} rows, not {self.num_envs}")
        native = self.actions.decode(action)
        self._steps += 1
        with self._located():
            result = self.env.step(native)
        return self._records_of(result)

    def follow(self, results: Iterable[StepResult]) -> list[tuple[Records | None, Records]]:
        """Makes records of steps that the vector environment has taken by itself; requires NEXT_STEP.

        Args:
            results: the results of the steps, as ``env.step`` returns them, in order.

        Returns:
            The results that ``step`` returns for the same steps.
        """
        followed = []
        for result in results:
            self._steps += 1
            followed.append(self._records_of(result))
        return followed

    def _records_of(self, result: StepResult) -> tuple[Records | None, Records]:
        observation, rewards, terminated, truncated, infos = result
        first = self._ended
        with self._located():
            obs, reward = self._encode(observation, infos), self._rewards(rewards, first)
        terminal = np.asarray(terminated, bool).reshape(self.num_envs) & ~first
        last = (terminal | np.asarray(truncated, bool).reshape(self.num_envs)) & ~first
        info = self._numbers(observation, infos)
        raw = info.pop(RAW_REWARD, reward)  # returns are those of the environment, not of a wrapper that clips
        self._return = np.where(first, 0, self._return + np.where(np.isnan(raw), reward, raw))
        self._length = np.where(first, 0, self._length + 1)
        none = np.zeros(self.num_envs, bool)
        final = None
        if self._mode is AutoresetMode.NEXT_STEP:
            self._ended = last
        elif last.any():
            rows = np.flatnonzero(last)
            with self._located():
                if self._mode is AutoresetMode.SAME_STEP:
                    final_obs, final_info = self._same_step_final(infos, rows)
                else:
                    final_obs, final_info = {key: value[rows] for key, value in obs.items()}, info
                    info = self._reset_rows(obs, info, last)
            final = self._records(final_obs, reward, none, last, terminal, final_info, rows)
            reward = np.where(last, 0, reward)
            self._return, self._length = np.where(last, 0, self._return), np.where(last, 0, self._length)
            first, last, terminal = last, none, none
        self._current = self._records(obs, reward, first, last, terminal, info)
        return final, self._current

    def _reset_rows(
        self, obs: dict[str, np.ndarray], info: dict[str, np.ndarray], ended: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Resets the environments ``ended`` (DISABLED), writes their observations to ``obs`` and returns the info."""
        observation, infos = self.env.reset(options={"reset_mask": ended.copy()})
        fresh = self._encode(observation, infos)
        for key, value in obs.items():
            value[ended] = fresh[key][ended]
        return overwrite(info, self._numbers(observation, infos), ended)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Returns one picture per environment, or None if ``render_mode`` makes none."""
        frames: Any = self.env.render()
        return None if frames is None else tuple(frames)

    def get_state(self) -> dict[str, np.ndarray] | None:
        """Returns everything that the next step depends on, or None if the environment has no ``get_state``."""
        state = self.env.get_state() if hasattr(self.env, "get_state") else None
        if state is None or self._current is None:
            return None
        result = {f"env/{name}": np.array(value) for name, value in state.items()}
        current = self._current
        for group, entries in (("obs", current.obs), ("info", current.info)):
            result |= {f"{group}/{name}": value.copy() for name, value in entries.items()}
        result |= {name: getattr(current, name).copy() for name in ROW_FIELDS}
        return result | {"return": self._return.copy(), "length": self._length.copy(), "steps": np.array(self._steps)}

    def set_state(self, state: Mapping[str, np.ndarray]) -> Records:
        """Restores the arrays of ``get_state`` and returns the records that were current then."""
        groups: dict[str, dict[str, np.ndarray]] = {"env": {}, "obs": {}, "info": {}}
        for key, value in state.items():
            group, _, name = key.partition("/")
            if name:
                groups[group][name] = np.array(value)
        self.env.set_state(groups["env"])  # type: ignore[attr-defined]
        fields = {name: np.array(state[name]) for name in ROW_FIELDS}
        self._current = Records(obs=groups["obs"], info=groups["info"], **fields)
        self._info_names = dict.fromkeys(name for name in groups["info"] if name not in EPISODE_INFO)
        # In the modes other than NEXT_STEP, current records are never the last of an episode.
        self._ended = self._current.is_last.copy()
        self._return, self._length = np.array(state["return"]), np.array(state["length"])
        self._steps, self._seed = int(state["steps"]), None
        return self._current

    def place(self) -> str:
        """Returns name and step, and the environment that is being stepped, if known; callable during a step."""
        busy = [env.index for env in getattr(self.env, "envs", ()) if isinstance(env, CheckedEnv) and env.busy]
        return ": ".join([self._place, *(f"environment {index}" for index in busy)])

    def close(self) -> None:
        """Closes the environments and their processes."""
        self.env.close()

    def _encode(self, observation: Any, infos: Infos) -> dict[str, np.ndarray]:
        obs = self.observations.encode(observation, self.num_envs)
        if self._mask_in_info:
            obs[MASK_KEY] = masks(infos, self.num_envs, self.spec.obs[MASK_KEY].size)
        elif self._mask_may_come and mask_size(infos) == self.actions.mask_size:
            self._mask_may_come = False
            text = (
                f"{self._place}: info has an {MASK_KEY} that neither the reset nor the first step had: it is not used"
            )
            warnings.warn(f"{text}; give it from the reset on", EnvWarning, stacklevel=2)
        for note in self._ranges.add(obs):
            warnings.warn(f"{self.name}: {note}", EnvWarning, stacklevel=2)
        return obs

    def _numbers(self, observation: Any, infos: Infos) -> dict[str, np.ndarray]:
        """Returns the numbers of the infos, and those under "log/" of the observation."""
        return numbers(infos, self.num_envs) | self.observations.logged(observation, self.num_envs)

    def _same_step_final(self, infos: Infos, rows: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Returns the terminal observations of ``rows`` and the info numbers of all environments (SAME_STEP)."""
        native = next((infos[key] for key in FINAL_OBS if key in infos), None)
        if native is None:
            raise EnvError(f"environment {rows[0]}: no terminal observation: infos has no 'final_obs'")
        if isinstance(native, np.ndarray) and native.dtype == object:
            obs, logged = self.observations.encode_rows([native[row] for row in rows], rows), {}
        else:
            obs = self.observations.encode(native, self.num_envs, rows)
            logged = self.observations.logged(native, self.num_envs)
        final = final_infos(infos, self.num_envs)
        if self._mask_in_info:
            obs[MASK_KEY] = masks(final, self.num_envs, self.spec.obs[MASK_KEY].size)[rows]
        return obs, numbers(final, self.num_envs) | logged

    def _rewards(self, rewards: Any, first: np.ndarray) -> np.ndarray:
        """Returns rewards ``[N]``, 0 where ``first``."""
        values = np.asarray(rewards)
        if values.shape not in ((self.num_envs,), (self.num_envs, 1)):
            raise EnvError(f"rewards have shape {values.shape}, not ({self.num_envs},)")
        if values.dtype.kind in "biuf":
            with np.errstate(over="ignore"):
                reward = np.where(first, 0, values.reshape(self.num_envs)).astype(np.float32)
            if np.isfinite(reward).all():
                return reward
        reward = np.zeros(self.num_envs, np.float32)
        for row in np.flatnonzero(~first):
            try:
                reward[row] = finite(one_number(values[row], "the reward"))
            except EnvError as error:
                raise EnvError(f"environment {row}: {error}") from None
        return reward

    def _records(
        self,
        obs: dict[str, np.ndarray],
        reward: np.ndarray,
        first: np.ndarray,
        last: np.ndarray,
        terminal: np.ndarray,
        info: dict[str, np.ndarray],
        rows: np.ndarray | None = None,
    ) -> Records:
        """Makes records of the given rows (default: all) of arrays ``[N]``; ``obs`` contains those rows only."""
        rows = np.arange(self.num_envs) if rows is None else rows
        # Names are kept once seen, so that all records have the same keys.
        self._info_names |= dict.fromkeys(info)
        absent = np.full(self.num_envs, np.nan)
        columns = {name: info.get(name, absent) for name in self._info_names}
        columns |= {"episode_return": self._return, "episode_length": self._length}
        return Records(
            env=rows.astype(np.int32),
            obs=obs,
            reward=reward[rows].astype(np.float32),
            is_first=first[rows],
            is_last=last[rows],
            is_terminal=terminal[rows],
            info={name: value[rows] for name, value in columns.items()},
        )

    @property
    def _place(self) -> str:
        return f"{self.name}, step {self._steps}"

    @contextlib.contextmanager
    def _located(self) -> Iterator[None]:
        """Adds the name of the environment and the step to every error."""
        try:
            with self.watch(self.place):
                yield
        except EnvError as error:
            raise EnvError(f"{self._place}: {error}") from error
        except Exception as error:
            error.add_note(f"raised by the environment: {self._place}")
            raise


def _autoreset_mode(env: VectorEnv, name: str) -> AutoresetMode:
    mode = env.metadata.get("autoreset_mode")
    if mode is None:
        message = f"{name} has no metadata['autoreset_mode']: NEXT_STEP is assumed"
        warnings.warn(message, stacklevel=3)
        return AutoresetMode.NEXT_STEP
    return AutoresetMode(mode)
