"""Any Gymnasium environment as a stream of records.

A vector environment may show the end of an episode in three ways (Gymnasium's autoreset modes). Here all three give
each environment the same stream: every record with ``is_last`` holds the terminal observation, the next one is the
reset's with ``is_first`` and reward 0. Under NEXT_STEP both come in ``current``, one step apart; under SAME_STEP and
DISABLED the terminal record comes as ``final``, in the same step as the reset's.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from dreamjax.config import EnvConfig
from dreamjax.envs.checks import CheckedEnv, EnvError
from dreamjax.envs.infos import Infos, final_infos, mask_size, masks, numbers, overwrite
from dreamjax.envs.spaces import ActionCodec, ObsCodec
from dreamjax.envs.workers import WorkerVectorEnv
from dreamjax.types import MASK_KEY, ActionSpec, EnvSpec, ObsSpec, Records

__all__ = ["Adapter", "EnvError", "make_env", "make_env_from"]

ROW_FIELDS = ("env", "reward", "is_first", "is_last", "is_terminal")
EPISODE_INFO = ("episode_return", "episode_length")
Watch = Callable[[Callable[[], str]], contextlib.AbstractContextManager[None]]
StepResult = tuple[Any, Any, Any, Any, Infos]  # of a vector environment's step
FINAL_OBS = ("final_obs", "final_observation")


def make_env(config: EnvConfig, num_envs: int, *, seed: int, render_mode: str | None = None) -> Adapter:
    """Makes ``num_envs`` environments of ``config.id``, side by side.

    The id's own vector entry point is preferred (one program steps all of them); else single environments are stepped
    in this process, or in ``config.workers`` worker processes. ``module:Id-v0`` imports the module first.

    Args:
        config: which environment; ``kwargs`` and ``action_mode`` (where not None) go to its constructor.
        num_envs: N.
        seed: of the first ``reset``; environment i of single ones is seeded by ``seed + i``.
        render_mode: of the environments, None for no pictures.

    Raises:
        EnvError: on an unknown id, a space without a mapping, or a constructor or first reset that fails.
    """
    kwargs: dict[str, Any] = dict(config.kwargs)
    if config.action_mode is not None:
        kwargs["action_mode"] = config.action_mode
    if render_mode is not None:
        kwargs["render_mode"] = render_mode

    def build() -> VectorEnv:
        module, _, name = config.id.rpartition(":")
        if module:
            importlib.import_module(module)
        if config.workers:
            factory = functools.partial(gymnasium.make, config.id, **{"disable_env_checker": True, **kwargs})
            return WorkerVectorEnv(
                factory, num_envs, workers=config.workers, timeout=config.timeout, max_restarts=config.max_restarts,
                seed=seed,
            )  # fmt: skip
        spec = gymnasium.registry.get(name)
        if spec is not None and spec.vector_entry_point is not None and not spec.additional_wrappers:
            return gymnasium.make_vec(name, num_envs, vectorization_mode="vector_entry_point", **kwargs)
        count = itertools.count()
        # Gymnasium's passive checker is left out: the adapter checks every observation itself.
        return gymnasium.make_vec(
            name, num_envs, vectorization_mode="sync", wrappers=[lambda env: CheckedEnv(env, next(count))],
            disable_env_checker=True, **kwargs,
        )  # fmt: skip

    return _adapt(build, config.id, num_envs, seed)


def make_env_from(
    factory: Callable[[], Any],
    num_envs: int,
    *,
    seed: int,
    workers: int = 0,
    timeout: float = 60.0,
    max_restarts: int = 3,
) -> Adapter:
    """As ``make_env``, from a function without arguments that makes one environment, or one vector environment.

    A vector environment must hold ``num_envs`` already. With ``workers`` the function is pickled (by cloudpickle).

    Raises:
        EnvError: as ``make_env``.
    """

    def build() -> VectorEnv:
        if workers:
            return WorkerVectorEnv(
                factory, num_envs, workers=workers, timeout=timeout, max_restarts=max_restarts, seed=seed
            )
        first = factory()
        if isinstance(first, VectorEnv):
            return first
        singles = [CheckedEnv(env, i) for i, env in enumerate([first, *(factory() for _ in range(num_envs - 1))])]
        return SyncVectorEnv([functools.partial(_same, env) for env in singles])

    return _adapt(build, getattr(factory, "__name__", type(factory).__name__), num_envs, seed)


def _same(env: gymnasium.Env) -> gymnasium.Env:
    return env


def _adapt(build: Callable[[], VectorEnv], name: str, num_envs: int, seed: int) -> Adapter:
    if num_envs < 1:
        raise EnvError(f"num_envs={num_envs} is not allowed: must be 1 or more")
    try:
        env = build()
    except EnvError as error:
        raise EnvError(f"{name}: {error}") from error
    except Exception as error:
        raise EnvError(f"{name} cannot be made: {type(error).__name__}: {error}") from error
    try:
        if env.num_envs != num_envs:
            raise EnvError(f"{name}: the vector environment holds {env.num_envs} environments, not {num_envs}")
        return Adapter(env, name=name, seed=seed)
    except BaseException:
        env.close()
        raise


class Adapter:
    """A Gymnasium vector environment as records.

    Args:
        env: the vector environment, in any autoreset mode (``metadata["autoreset_mode"]``).
        name: what messages call it.
        seed: of the first reset.

    Attributes:
        spec: what it gives and takes.
        num_envs: N.
        env: the vector environment itself.
        watch: around every step and reset; takes ``place``, see ``dreamjax.training.runtime.watchdog``.

    Raises:
        EnvError: on a space without a mapping or a reset that fails.
    """

    def __init__(self, env: VectorEnv, *, name: str = "environment", seed: int | None = None) -> None:
        self.env, self.num_envs, self.name = env, env.num_envs, name
        self.watch: Watch = lambda place: contextlib.nullcontext()
        self._seed = seed
        self._mode = _autoreset_mode(env, name)
        self._steps = 0
        self._ended = np.zeros(self.num_envs, bool)  # the last record was its episode's last
        self._return = np.zeros(self.num_envs)
        self._length = np.zeros(self.num_envs)
        self._info_names: dict[str, None] = {}
        self._current: Records | None = None
        try:
            self.actions = ActionCodec(env.single_action_space)
            self.observations = ObsCodec(env.single_observation_space, mask_size=self.actions.mask_size)
            _, infos = env.reset(seed=seed)
        except EnvError as error:
            raise EnvError(f"{name}: {error}") from error
        except Exception as error:
            raise EnvError(f"{name} cannot be reset: {type(error).__name__}: {error}") from error
        obs, parts = dict(self.observations.spec), self.actions.spec.parts
        size = mask_size(infos) if MASK_KEY not in obs else None
        self._mask_in_info = size is not None and size == self.actions.mask_size
        if self._mask_in_info:
            obs[MASK_KEY] = ObsSpec("mask", (typing.cast(int, size),), "bool")
        elif size is not None or self.observations.unused_mask:
            takes = self.actions.mask_size or "no"
            message = f"{name}: {MASK_KEY} is ignored, the action space {env.single_action_space} takes {takes} entries"
            warnings.warn(message, stacklevel=2)
        if MASK_KEY in obs:
            parts = tuple(replace(part, masked=part.kind == "categorical") for part in parts)
        self.spec = EnvSpec(obs, ActionSpec(parts))

    def reset(self, seed: int | None = None) -> Records:
        """Begins a new episode everywhere: all rows ``is_first``, reward 0.

        The first reset without a seed uses the constructor's; later ones go on with the environments' own randomness.
        """
        seed, self._seed = (self._seed if seed is None else seed), None
        with self._located():
            observation, infos = self.env.reset(seed=seed)
            obs = self._encode(observation, infos)
        none = np.zeros(self.num_envs, bool)
        self._ended = none
        self._return, self._length = np.zeros(self.num_envs), np.zeros(self.num_envs)
        zeros = np.zeros(self.num_envs)
        self._current = self._records(obs, zeros, ~none, none, none, numbers(infos, self.num_envs))
        return self._current

    def step(self, action: np.ndarray) -> tuple[Records | None, Records]:
        """Acts in every environment.

        Args:
            action: records ``[N, K]``, int32 or float32; rows whose last record ``is_last`` are ignored.

        Returns:
            ``final``: the terminal records of the environments that ended and were reset within this step (only those;
            ``env`` says which), or None. ``current``: one record for each environment, the ones to act from next.
            Their ``info`` is float64: the environment's own numbers (NaN where it gave none), and ``episode_return``
            and ``episode_length`` (steps) so far.

        Raises:
            EnvError: on NaN, infinity, a wrong shape or a class out of range; it names environment, entry and step.
            ValueError: on an action record that is none.
        """
        if len(action) != self.num_envs:
            raise ValueError(f"action records have {len(action)} rows, not {self.num_envs}")
        native = self.actions.decode(action)
        self._steps += 1
        with self._located():
            result = self.env.step(native)
        return self._arrive(result)

    def follow(self, results: Iterable[StepResult]) -> list[tuple[Records | None, Records]]:
        """What ``step`` would have returned, for steps that the vector environment has taken by itself.

        Args:
            results: what its own ``step`` would have returned, in order; under NEXT_STEP only.
        """
        followed = []
        for result in results:
            self._steps += 1
            followed.append(self._arrive(result))
        return followed

    def _arrive(self, result: StepResult) -> tuple[Records | None, Records]:
        observation, rewards, terminated, truncated, infos = result
        with self._located():
            obs, reward = self._encode(observation, infos), self._reward(rewards)
        first = self._ended
        reward[first] = 0
        terminal = np.asarray(terminated, bool) & ~first
        last = (terminal | np.asarray(truncated, bool)) & ~first
        self._return = np.where(first, 0, self._return + reward)
        self._length = np.where(first, 0, self._length + 1)
        info = numbers(infos, self.num_envs)
        none = np.zeros(self.num_envs, bool)
        final = None
        if self._mode is AutoresetMode.NEXT_STEP:
            self._ended = last
        elif last.any():
            rows = np.flatnonzero(last)
            with self._located():
                if self._mode is AutoresetMode.SAME_STEP:
                    final_obs, final_info = self._hidden_end(infos, rows)
                else:
                    final_obs, final_info = {key: value[rows] for key, value in obs.items()}, info
                    observation, infos = self.env.reset(options={"reset_mask": last.copy()})
                    fresh = self._encode(observation, infos)
                    for key, value in obs.items():
                        value[rows] = fresh[key][rows]
                    info = overwrite(info, numbers(infos, self.num_envs), last)
            final = self._records(final_obs, reward, none, last, terminal, final_info, rows)
            reward = np.where(last, 0, reward)
            self._return, self._length = np.where(last, 0, self._return), np.where(last, 0, self._length)
            first, last, terminal = last, none, none
        self._current = self._records(obs, reward, first, last, terminal, info)
        return final, self._current

    def render(self) -> tuple[np.ndarray, ...] | None:
        """One picture for each environment, where ``render_mode`` gives any."""
        frames: Any = self.env.render()
        return None if frames is None else tuple(frames)

    def get_state(self) -> dict[str, np.ndarray] | None:
        """Everything that the next step depends on, as arrays; None where the environment cannot tell its state."""
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
        """Goes on from ``get_state``'s arrays and returns the records that were current then."""
        groups: dict[str, dict[str, np.ndarray]] = {"env": {}, "obs": {}, "info": {}}
        for key, value in state.items():
            group, _, name = key.partition("/")
            if name:
                groups[group][name] = np.array(value)
        self.env.set_state(groups["env"])  # type: ignore[attr-defined]
        fields = {name: np.array(state[name]) for name in ROW_FIELDS}
        self._current = Records(obs=groups["obs"], info=groups["info"], **fields)
        self._info_names = dict.fromkeys(name for name in groups["info"] if name not in EPISODE_INFO)
        # Under the other two modes the current records are never an episode's last.
        self._ended = self._current.is_last.copy()
        self._return, self._length = np.array(state["return"]), np.array(state["length"])
        self._steps, self._seed = int(state["steps"]), None
        return self._current

    def place(self) -> str:
        """Name and step, and which environment is at work where that can be told; also while a step is under way."""
        busy = [env.index for env in getattr(self.env, "envs", ()) if isinstance(env, CheckedEnv) and env.busy]
        return ": ".join([self._place, *(f"environment {index}" for index in busy)])

    def close(self) -> None:
        """Ends the environments and their processes."""
        self.env.close()

    def _encode(self, observation: Any, infos: Infos) -> dict[str, np.ndarray]:
        obs = self.observations.encode(observation, self.num_envs)
        if self._mask_in_info:
            obs[MASK_KEY] = masks(infos, self.num_envs, self.spec.obs[MASK_KEY].size)
        return obs

    def _hidden_end(self, infos: Infos, rows: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Terminal observations of ``rows`` and numbers of all environments under SAME_STEP."""
        native = next((infos[key] for key in FINAL_OBS if key in infos), None)
        if native is None:
            raise EnvError(f"environment {rows[0]}: no terminal observation: infos has no 'final_obs' at the end")
        if isinstance(native, np.ndarray) and native.dtype == object:
            obs = self.observations.encode_rows([native[row] for row in rows], rows)
        else:
            obs = self.observations.encode(native, self.num_envs, rows)
        final = final_infos(infos, self.num_envs)
        if self._mask_in_info:
            obs[MASK_KEY] = masks(final, self.num_envs, self.spec.obs[MASK_KEY].size)[rows]
        return obs, numbers(final, self.num_envs)

    def _reward(self, rewards: Any) -> np.ndarray:
        reward = np.array(rewards, np.float32)
        if reward.shape != (self.num_envs,):
            raise EnvError(f"rewards have shape {reward.shape}, not ({self.num_envs},)")
        if not np.isfinite(reward).all():
            row = int(np.flatnonzero(~np.isfinite(reward))[0])
            raise EnvError(f"environment {row}: the reward is {reward[row]}: not finite")
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
        """Copies of the given rows of full-length columns; ``obs`` has those rows only."""
        rows = np.arange(self.num_envs) if rows is None else rows
        # A name seen once stays, so that the keys of info do not change from step to step.
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
        """Says in every error which environment and which step it comes from."""
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
        message = f"{name} does not say its autoreset mode (metadata['autoreset_mode']): taken for NEXT_STEP"
        warnings.warn(message, stacklevel=3)
        return AutoresetMode.NEXT_STEP
    return AutoresetMode(mode)
