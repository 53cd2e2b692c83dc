"""Makes environments by id or from a function, as an ``Adapter``."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, find_highest_version, get_env_id, parse_env_id
from gymnasium.vector import SyncVectorEnv, VectorEnv

from dreamjax.config import EnvConfig
from dreamjax.envs.adapter import Adapter
from dreamjax.envs.checks import EnvError, EnvWarning
from dreamjax.envs.single import CheckedEnv, Selection
from dreamjax.envs.workers.vector_env import WorkerVectorEnv

OWN = "dreamjax/"  # ids of this package, whose two programs are the same environment


def make_env(config: EnvConfig, num_envs: int, *, seed: int, render_mode: str | None = None) -> Adapter:
    """Makes ``num_envs`` environments of ``config.id``.

    Single environments are stepped in this process, or in ``config.workers`` worker processes. Without workers, an id
    whose vector entry point has the same spaces is stepped by that one program instead. An id ``module:Id-v0`` imports
    the module first; one without a version means its newest.

    Args:
        config: the environment; ``kwargs`` and ``action_mode`` (unless None) are passed to its constructor.
        num_envs: N.
        seed: seed of the first ``reset``; single environment i is seeded by ``seed + i``.
        render_mode: render mode of the environments; None renders nothing.

    Raises:
        EnvError: if the id is unknown, a space is not supported, or the constructor or the first reset fails.
    """

    def build() -> VectorEnv:
        spec = find_spec(config.id)
        kwargs = arguments(config, render_mode)
        if config.workers:
            return WorkerVectorEnv(
                _single(config, spec, render_mode), num_envs, workers=config.workers, timeout=config.warn_after,
                max_restarts=config.max_restarts, seed=seed, selection=Selection.of(config),
            )  # fmt: skip
        difference = ""
        if spec.vector_entry_point is not None and not spec.additional_wrappers:
            try:
                env = gymnasium.make_vec(spec.id, num_envs, vectorization_mode="vector_entry_point", **kwargs)
                difference = "" if config.layout == "legacy" else _difference(config, spec, env)
                if not difference:
                    return env
                env.close()
            except Exception as error:
                if spec.entry_point is None:
                    raise
                difference = f"its vector entry point cannot be made: {type(error).__name__}: {error}"
        singles = SyncVectorEnv([functools.partial(_one_of, num_envs, config, i, render_mode) for i in range(num_envs)])
        if difference:
            text = f"{difference}: single environments are made, as in workers and everywhere else"
            warnings.warn(f"{config.id}: {text}", EnvWarning, stacklevel=2)
        return singles

    return _adapt(build, config.id, num_envs, seed, how_read(config))


def how_read(config: EnvConfig) -> EnvConfig:
    """``config`` as ``ObsCodec`` takes it: all boards of this package have their channels first."""
    own = config.id.rpartition(":")[2].startswith(OWN) and config.layout == "auto"
    return dataclasses.replace(config, layout="channels_first") if own else config


def make_single(config: EnvConfig, index: int = 0, render_mode: str | None = None) -> CheckedEnv:
    """Makes one environment, as training steps it.

    Args:
        config, render_mode: see ``make_env``. index: its number in messages.

    Raises:
        Exception: what the environment raises.
    """
    return CheckedEnv(_single(config, find_spec(config.id), render_mode)(), index, Selection.of(config))


def _one_of(num_envs: int, config: EnvConfig, index: int, render_mode: str | None) -> CheckedEnv:
    """``make_single``; says so if only the first can be made."""
    try:
        return make_single(config, index, render_mode)
    except Exception as error:
        if not index:
            raise
        text = f"environment {index} of {num_envs} cannot be made beside the first: {type(error).__name__}: {error}"
        raise EnvError(f"{text}; where a process may have only one, set num_envs=1 and eval.num_envs=1") from error


def find_spec(name: str) -> EnvSpec:
    """Returns Gymnasium's specification of ``id`` or ``module:id``; without a version, the newest.

    Raises:
        EnvError: if there is none, or the module cannot be imported.
    """
    module, _, env_id = name.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        if env_id not in gymnasium.registry:
            namespace, base, version = parse_env_id(env_id)
            newest = find_highest_version(namespace, base) if version is None else None
            env_id = env_id if newest is None else get_env_id(namespace, base, newest)
        return gymnasium.spec(env_id)
    except Exception as error:
        raise EnvError(f"it cannot be made: {type(error).__name__}: {error}") from error


def arguments(config: EnvConfig, render_mode: str | None = None) -> dict[str, Any]:
    """Returns the arguments of an environment's constructor."""
    result: dict[str, Any] = dict(config.kwargs)
    if config.action_mode is not None:
        result["action_mode"] = config.action_mode
    if render_mode is not None:
        result["render_mode"] = render_mode
    return result


def _single(config: EnvConfig, spec: EnvSpec, render_mode: str | None) -> Callable[[], gymnasium.Env]:
    """Returns what makes one environment, also in another process; Gymnasium's checker would find less than ours."""
    module = config.id.rpartition(":")[0]
    name = f"{module}:{spec.id}" if module else spec.id
    return functools.partial(gymnasium.make, name, **{"disable_env_checker": True, **arguments(config, render_mode)})


def _difference(config: EnvConfig, spec: EnvSpec, vector: VectorEnv) -> str:
    """Returns how the vector program differs from the single environment in words; "" if it does not.

    An environment is the same in this process, in workers, in an evaluation and in a loop of its user, and only the single
    one is in all of these.
    """
    if spec.entry_point is None or spec.id.startswith(OWN):
        return ""
    try:
        single = make_single(config)
    except Exception:
        return ""  # the arguments are those of the vector program, or it is all that is installed
    with contextlib.closing(single):
        pairs = (
            ("observation", single.env.observation_space, vector.single_observation_space),
            ("action", single.env.action_space, vector.single_action_space),
        )
    for name, one, many in pairs:
        if one != many:
            return f"its vector entry point has the {name} space {many}, the environment itself {one}"
    return ""


def make_env_from(
    factory: Callable[[], Any],
    num_envs: int,
    *,
    seed: int,
    workers: int = 0,
    timeout: float = 60.0,
    max_restarts: int = 3,
    config: EnvConfig | None = None,
) -> Adapter:
    """Like ``make_env``, from a function instead of an id.

    Args:
        factory: makes one environment, or one vector environment of ``num_envs`` environments; takes no arguments.
        num_envs: N.
        seed: seed of the first ``reset``; single environment i is seeded by ``seed + i``.
        workers: number of worker processes, to which ``factory`` is sent by cloudpickle; 0: this process.
        timeout: seconds within which a worker must step or reset all its environments.
        max_restarts: number of failures allowed per worker.
        config: how observations are read (``keys``, ``ignore``, ``layout``, ``obs``); its other fields are not used.

    Raises:
        EnvError: if a space is not supported, or ``factory`` or the first reset fails.
    """
    selection = Selection.of(config or EnvConfig())

    def build() -> VectorEnv:
        if workers:
            return WorkerVectorEnv(
                factory, num_envs, workers=workers, timeout=timeout, max_restarts=max_restarts, seed=seed,
                selection=selection,
            )  # fmt: skip
        first = factory()
        if isinstance(first, VectorEnv):
            return first
        envs = [first, *(factory() for _ in range(num_envs - 1))]
        return SyncVectorEnv([functools.partial(CheckedEnv, env, i, selection) for i, env in enumerate(envs)])

    named: Any = factory.func if isinstance(factory, functools.partial) else factory
    return _adapt(build, getattr(named, "__name__", type(named).__name__), num_envs, seed, config)


def _adapt(build: Callable[[], VectorEnv], name: str, num_envs: int, seed: int, config: EnvConfig | None) -> Adapter:
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
        return Adapter(env, name=name, seed=seed, config=config)
    except BaseException:
        env.close()
        raise
