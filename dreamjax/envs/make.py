"""Makes environments by id or from a function, as an ``Adapter``."""

from __future__ import annotations

import functools
import importlib
import itertools
from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium.vector import SyncVectorEnv, VectorEnv

from dreamjax.config import EnvConfig
from dreamjax.envs.adapter import Adapter
from dreamjax.envs.checks import EnvError
from dreamjax.envs.single import CheckedEnv
from dreamjax.envs.workers.vector_env import WorkerVectorEnv


def make_env(config: EnvConfig, num_envs: int, *, seed: int, render_mode: str | None = None) -> Adapter:
    """Makes ``num_envs`` environments of ``config.id``.

    If the id has a vector entry point, one program steps all environments. Otherwise single environments are stepped in
    this process, or in ``config.workers`` worker processes. An id ``module:Id-v0`` imports the module first.

    Args:
        config: the environment; ``kwargs`` and ``action_mode`` (unless None) are passed to its constructor.
        num_envs: N.
        seed: seed of the first ``reset``; single environment i is seeded by ``seed + i``.
        render_mode: render mode of the environments; None renders nothing.

    Raises:
        EnvError: if the id is unknown, a space is not supported, or the constructor or the first reset fails.
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
                factory, num_envs, workers=config.workers, timeout=config.warn_after, max_restarts=config.max_restarts,
                seed=seed,
            )  # fmt: skip
        spec = gymnasium.registry.get(name)
        if spec is not None and spec.vector_entry_point is not None and not spec.additional_wrappers:
            return gymnasium.make_vec(name, num_envs, vectorization_mode="vector_entry_point", **kwargs)
        count = itertools.count()
        # The adapter checks every observation, so Gymnasium's passive checker is disabled.
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
    """Like ``make_env``, from a function instead of an id.

    Args:
        factory: makes one environment, or one vector environment of ``num_envs`` environments; takes no arguments.
        num_envs: N.
        seed: seed of the first ``reset``; single environment i is seeded by ``seed + i``.
        workers: number of worker processes, to which ``factory`` is sent by cloudpickle; 0: this process.
        timeout: seconds within which a worker must step or reset all its environments.
        max_restarts: number of failures allowed per worker.

    Raises:
        EnvError: if a space is not supported, or ``factory`` or the first reset fails.
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

    named: Any = factory.func if isinstance(factory, functools.partial) else factory
    return _adapt(build, getattr(named, "__name__", type(named).__name__), num_envs, seed)


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
            raise EnvError(f"{name}: the vector environment has {env.num_envs} environments, not {num_envs}")
        return Adapter(env, name=name, seed=seed)
    except BaseException:
        env.close()
        raise
