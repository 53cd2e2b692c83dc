"""A trained agent from a work directory, without its replay, or from those that come with the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax

from dreamjax.agents.agent import Agent, make_agent
from dreamjax.agents.player import Player
from dreamjax.config import Config, from_dict, merge, to_dict
from dreamjax.envs.adapter import Adapter
from dreamjax.envs.make import make_env
from dreamjax.training.storage import checkpoint, shipped
from dreamjax.training.storage.workdir import UsageError, read_config, resolve
from dreamjax.types import Params


class Loaded(NamedTuple):
    """A trained agent: ``params`` to act with, the environments asked for, and what the checkpoint says about itself."""

    config: Config
    env: Adapter
    agent: Agent
    params: Params
    path: Path
    meta: dict[str, Any]


def load(
    workdir: str | Path,
    *,
    num_envs: int | None = None,
    seed: int = 0,
    which: Literal["latest", "best"] = "latest",
    changes: Mapping[str, Any] | None = None,
) -> Loaded:
    """Loads a checkpoint's parameters, or a shipped agent's.

    Args:
        workdir: of a run, or the name of a shipped agent.
        num_envs: environments to make; None for ``eval.num_envs``. seed: of them.
        which: the newest intact checkpoint, or the one whose evaluation had the greatest mean return.
        changes: fields of the configuration that are to differ from the run's, as nested dictionaries.

    Raises:
        UsageError: the directory holds no run, or a run without such a checkpoint.
        ConfigError: the configuration cannot be with ``changes``.
        EnvError: the environment cannot be made.
        CheckpointError: no checkpoint is intact.
    """
    config = read_config(workdir)
    if changes:
        config = from_dict(merge(to_dict(config), changes))
    there = resolve(workdir)
    is_shipped = shipped.is_shipped(there)
    if not is_shipped and checkpoint.latest(there) is None:
        raise UsageError(f"{workdir} holds no checkpoint yet")
    best = checkpoint.best(there) if which == "best" and not is_shipped else None
    if which == "best" and not is_shipped and best is None:
        raise UsageError(f"{workdir} holds no checkpoint that was evaluated: take the latest")
    env = make_env(config.env, num_envs or config.eval.num_envs, seed=seed)
    try:
        agent = make_agent(config, env.spec)
        like = jax.eval_shape(agent.init, jax.random.key(0))
        if is_shipped:
            path = there
            params, meta = shipped.read(path, like.params)
        else:
            path = best or checkpoint.intact(there, "params", checkpoint.META)
            params, meta = checkpoint.restore_params(path, like.params)
    except BaseException:
        env.close()
        raise
    return Loaded(config, env, agent, jax.device_put(params), path, meta)


def load_player(workdir: str | Path, *, planner: bool = False, changes: Mapping[str, Any] | None = None) -> Player:
    """The newest intact checkpoint, or a shipped agent, with ``act``, by its policy or its planner; see ``load``."""
    loaded = load(workdir, num_envs=1, changes=changes)
    loaded.env.close()
    policy = loaded.agent.planner_policy if planner else loaded.agent.policy
    return Player(loaded.agent, loaded.params, loaded.env.observations, loaded.env.actions, policy)
