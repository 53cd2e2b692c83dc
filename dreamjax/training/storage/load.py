"""A trained agent from a work directory, without its replay, or from those that come with the package."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax

from dreamjax.agents.agent import Agent, make_agent
from dreamjax.agents.player import Player
from dreamjax.config import Config, from_dict, merge, to_dict
from dreamjax.envs.action_codec import ActionCodec
from dreamjax.envs.adapter import Adapter
from dreamjax.envs.make import how_read, make_env
from dreamjax.envs.matching import match, saved_spaces
from dreamjax.envs.obs_codec import ObsCodec
from dreamjax.training.storage import checkpoint, shipped, trained
from dreamjax.training.storage.trained import TrainedIn
from dreamjax.training.storage.workdir import UsageError, read_config, resolve
from dreamjax.types import Params


class Loaded:
    """A trained agent.

    Args:
        config: of the run. agent, params: to act with. path, meta: of the checkpoint, and what it says about itself.
        trained_in: environment that it was trained in. open_env: makes the environments.

    Attributes:
        env: the environments asked for, made when they are first used.
    """

    def __init__(
        self,
        config: Config,
        agent: Agent,
        params: Params,
        path: Path,
        meta: dict[str, Any],
        trained_in: TrainedIn,
        open_env: Callable[[], Adapter],
    ) -> None:
        self.config, self.agent, self.params, self.path, self.meta = config, agent, params, path, meta
        self.trained_in, self._open = trained_in, open_env

    @functools.cached_property
    def env(self) -> Adapter:
        """The environments. Raises EnvError if they cannot be made, or are not those that the agent was trained in."""
        return self._open()

    def close(self) -> None:
        """Closes the environments, if they were made."""
        if "env" in self.__dict__:
            self.env.close()


def load(
    workdir: str | Path,
    *,
    num_envs: int | None = None,
    seed: int = 0,
    which: Literal["latest", "best"] = "latest",
    changes: Mapping[str, Any] | None = None,
) -> Loaded:
    """Loads a checkpoint's parameters, or a shipped agent's.

    The environment is not needed for that, unless the checkpoint is of a version that did not keep its spaces, or
    ``changes`` has other fields of ``env``.

    Args:
        workdir: of a run, or the name of a shipped agent.
        num_envs: environments to make; None for ``eval.num_envs``. seed: of them.
        which: the newest intact checkpoint, or the one whose evaluation had the greatest mean return.
        changes: fields of the configuration that are to differ from the run's, as nested dictionaries.

    Raises:
        UsageError: the directory holds no run, or a run without such a checkpoint.
        ConfigError: the configuration cannot be with ``changes``.
        EnvError: the environment is needed and cannot be made, or is not the one that the agent was trained in.
        CheckpointError: no checkpoint is intact.
    """
    run = config = read_config(workdir)
    if changes:
        config = from_dict(merge(to_dict(config), changes))
    there = resolve(workdir)
    is_shipped = shipped.is_shipped(there)
    if is_shipped:
        path, meta = there, shipped.read_facts(there)
    else:
        if checkpoint.latest(there) is None:
            raise UsageError(f"{workdir} holds no checkpoint yet")
        best = checkpoint.best(there) if which == "best" else None
        if which == "best" and best is None:
            raise UsageError(f"{workdir} holds no checkpoint that was evaluated: take the latest")
        path = best or checkpoint.intact(there, "params", checkpoint.META)
        meta = checkpoint.read_meta(path)
    saved = trained.from_meta(meta)

    def open_env() -> Adapter:
        env = make_env(config.env, num_envs or config.eval.num_envs, seed=seed)
        try:
            if saved is not None:
                match(env, saved.spec)
        except BaseException:
            env.close()
            raise
        return env

    opened: Adapter | None = None
    if saved is None or saved.spaces is None or config.env != run.env:
        opened = open_env()
        spec = opened.spec if saved is None else saved.spec
        found = TrainedIn(spec, saved_spaces(opened))
    else:
        found = saved
    try:
        agent = make_agent(config, found.spec)
        like = jax.eval_shape(agent.init, jax.random.key(0))
        if is_shipped:
            params, meta = shipped.read(path, like.params)
        else:
            params, meta = checkpoint.restore_params(path, like.params)
    except BaseException:
        if opened is not None:
            opened.close()
        raise
    loaded = Loaded(config, agent, jax.device_put(params), path, meta, found, open_env)
    if opened is not None:
        loaded.env = opened
    return loaded


def load_player(workdir: str | Path, *, planner: bool = False, changes: Mapping[str, Any] | None = None) -> Player:
    """The newest intact checkpoint, or a shipped agent, with ``act``, by its policy or its planner; see ``load``."""
    loaded = load(workdir, num_envs=1, changes=changes)
    loaded.close()
    assert loaded.trained_in.spaces is not None
    observation, action = loaded.trained_in.spaces
    names = [part.name for part in loaded.trained_in.spec.action.parts]
    actions = ActionCodec(action, order=names if all(names) else None)
    observations = ObsCodec(observation, mask_size=actions.mask_size, config=how_read(loaded.config.env))
    policy = loaded.agent.planner_policy if planner else loaded.agent.policy
    return Player(loaded.agent, loaded.params, observations, actions, policy)
