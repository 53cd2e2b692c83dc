"""A trained agent from a work directory, without its replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax

from dreamjax.agents.dream_agent import Agent, make_agent
from dreamjax.agents.player import Player
from dreamjax.config import Config
from dreamjax.envs.adapter import Adapter, make_env
from dreamjax.training import checkpoint
from dreamjax.training.workdir import UsageError, read_config
from dreamjax.types import Params


class Loaded(NamedTuple):
    """A trained agent. ``env`` holds the environments asked for; ``meta`` is what the checkpoint says about itself."""

    config: Config
    env: Adapter
    agent: Agent
    params: Params
    path: Path
    meta: dict[str, Any]


def load(workdir: str | Path, *, num_envs: int | None = None, seed: int = 0) -> Loaded:
    """Loads the newest intact checkpoint's parameters.

    Args:
        workdir: of a run. num_envs: environments to make; None for ``eval.num_envs``. seed: of them.

    Raises:
        UsageError: the directory holds no run, or a run without a checkpoint.
        EnvError: the environment cannot be made.
        CheckpointError: no checkpoint is intact.
    """
    config = read_config(workdir)
    if checkpoint.latest(workdir) is None:
        raise UsageError(f"{workdir} holds no checkpoint yet")
    env = make_env(config.env, num_envs or config.eval.num_envs, seed=seed)
    agent = make_agent(config, env.spec)
    like = jax.eval_shape(agent.init, jax.random.key(0)).params
    path = checkpoint.intact(workdir, "params", checkpoint.META)
    params, meta = checkpoint.restore_params(path, like)
    return Loaded(config, env, agent, jax.device_put(params), path, meta)


def load_player(workdir: str | Path) -> Player:
    """The newest intact checkpoint as an agent with ``act``; see ``load`` for what it raises."""
    loaded = load(workdir, num_envs=1)
    loaded.env.close()
    return Player(loaded.agent, loaded.params, loaded.env.observations, loaded.env.actions)
