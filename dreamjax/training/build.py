"""The parts of a run, each built by one function from the configuration and the parts before it.

``Trainer`` calls them in order: first those that can refuse the run, then, under the work directory's lock, the others.
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from gymnasium.spaces import Space

from dreamjax.algorithms.update import Phases
from dreamjax.buffers.sequence_buffer import SequenceBuffer, nbytes_for
from dreamjax.config import Config, ConfigError, to_dict
from dreamjax.envs.adapter import Adapter
from dreamjax.envs.checks import EnvError
from dreamjax.envs.make import make_env
from dreamjax.envs.matching import match, saved_spaces
from dreamjax.reporting.logger import Logger, NullLogger
from dreamjax.training.collection.collector import Collector, Policy, Steps
from dreamjax.training.collection.compiled_collector import engine_of
from dreamjax.training.collection.offline_collector import OfflineCollector
from dreamjax.training.runtime import hosts, memory
from dreamjax.training.runtime.hosts import Group, Share
from dreamjax.training.runtime.watchdog import Watchdog
from dreamjax.training.schedule import Schedule
from dreamjax.training.storage import recording, trained
from dreamjax.training.storage.recording import SavedReplay
from dreamjax.training.storage.trained import TrainedIn
from dreamjax.training.updates import Updates
from dreamjax.types import Batch, EnvSpec


class Source(NamedTuple):
    """Where a run's steps come from: environments, or saved steps, which then set the layout of replay.

    Attributes:
        env, saved: one of the two; the other is None.
        spec: of the environment. share: this process's environments, replay and seed.
        spaces: observation and action space of one environment, where there is one.
    """

    env: Adapter | None
    saved: SavedReplay | None
    spec: EnvSpec
    share: Share
    spaces: tuple[Space, Space] | None = None


def open_source(config: Config, group: Group, watchdog: Watchdog, begun: TrainedIn | None = None) -> Source:
    """Opens the environments, or the saved steps of ``offline.replay``.

    Args:
        begun: what the agent was trained in, where a run is continued.

    Raises:
        ConfigError, EnvError, UsageError: they cannot be opened, or do not go with the rest of the configuration.
    """
    share = hosts.share(config, group)
    if not config.offline.replay:
        env = open_environments(config, share.num_envs, share.seed, watchdog, None if begun is None else begun.spec)
        if begun is None and config.init_from.path and (other := trained.read(config.init_from.path)):
            with contextlib.suppress(EnvError):  # of another environment: parameters are matched by name and shape
                match(env, other.spec)
        if config.schedule.steps_per_call > 1:
            engine_of(env, config.schedule.steps_per_call)
        return Source(env, None, env.spec, share, saved_spaces(env))
    if group.count > 1:
        raise ConfigError(
            f"offline.replay={config.offline.replay!r} is not allowed: must be empty in a run of several processes"
        )
    saved = recording.open_saved_replay(config.offline.replay)
    replay = dataclasses.replace(config.replay, capacity=saved.num_envs * saved.size, min_size=1)
    return Source(None, saved, saved.spec, Share(saved.num_envs, replay, share.seed))


def open_environments(
    config: Config, num_envs: int, seed: int, watchdog: Watchdog, like: EnvSpec | None = None
) -> Adapter:
    """Makes environments; those of this process are watched (workers have time limits of their own).

    Args:
        like: what the agent was trained with, to be matched (``dreamjax.envs.matching``); None for a new agent.
    """
    with watchdog.over(lambda: f"{config.env.id}, being made"):
        env = make_env(config.env, num_envs, seed=seed)
    try:
        if like is not None:
            match(env, like)
    except EnvError:
        env.close()
        raise
    if not config.env.workers:
        env.watch = watchdog.over
    return env


def check_memory(
    config: Config, group: Group, source: Source, schedule: Schedule, updates: Updates, state: Any, *, latents: Any
) -> memory.MemoryEstimate:
    """Estimates what the run needs, before any of it is allocated.

    Args:
        state: shapes of the ``TrainState``. latents: those that replay keeps, ``recording.kept_latents``.

    Raises:
        ConfigError: it cannot fit.
    """
    replay = nbytes_for(
        source.spec,
        source.share.replay.capacity,
        num_envs=source.share.num_envs,
        latent_spec=recording.latent_spec(latents),
        promoted=True,
    )
    host = memory.host_available()
    memory.check_replay(replay, config.replay.capacity, host)
    activations = 0
    for phases, size in schedule.batches.items():
        batch = memory.batch_shapes(source.spec, size // group.count, config.batch_length, latents=latents)
        activations = max(activations, updates.activation_bytes(phases, state, batch))
    needed = memory.estimate(state, activations=activations, replay=replay)
    device = memory.device_available()
    memory.check_device(needed, config.batch_size, on_host=device is None, available=device or host)
    return needed


def update_shapes(config: Config, spec: EnvSpec, schedule: Schedule, *, latents: Any) -> dict[Phases, Batch]:
    """Shapes of the batch of each tuple of phases."""
    length = config.batch_length
    return {
        phases: memory.batch_shapes(spec, size, length, latents=latents) for phases, size in schedule.batches.items()
    }


def make_buffer(source: Source, *, latents: Any) -> SequenceBuffer:
    """This process's replay, empty."""
    num_envs, replay, seed = source.share
    latent_spec = recording.latent_spec(latents)
    return recording.make_replay(replay, source.spec, num_envs=num_envs, seed=seed, latents=latent_spec)


def make_logger(config: Config, path: Path, group: Group) -> Logger | NullLogger:
    """The primary process reports; the others do not."""
    if not group.is_primary:
        return NullLogger()
    log = config.log
    return Logger(
        path,
        total_steps=config.total_steps,
        tensorboard=log.tensorboard,
        terminal_every=log.every,
        wandb=log.wandb,
        config=to_dict(config),
    )


def make_collector(
    config: Config, group: Group, source: Source, buffer: SequenceBuffer, policy: Policy, steps: Steps | None
) -> Collector | OfflineCollector:
    """What brings steps into ``buffer``, or only counts them where they were saved before."""
    if source.env is None:
        return OfflineCollector(config.num_envs)
    return Collector(
        policy,
        source.env,
        buffer,
        num_envs=source.share.num_envs,
        seed=source.share.seed,
        keep_latents=config.replay.keep_latents,
        counted=config.num_envs,
        gather=group.gather,
        steps=steps,
    )
