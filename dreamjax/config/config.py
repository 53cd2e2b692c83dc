"""The configuration of one run, and how its parts go together."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dreamjax.config import legacy
from dreamjax.config.environment import EnvConfig
from dreamjax.config.learning import ExploreConfig, ImaginationConfig, LossConfig, OptimizerConfig, ScheduleConfig
from dreamjax.config.networks import ActorConfig, CriticConfig, EnsembleConfig, ModelConfig
from dreamjax.config.planning import PlannerConfig
from dreamjax.config.replay import OfflineConfig, ReplayConfig
from dreamjax.config.running import CheckpointConfig, EvalConfig, InitFromConfig, LogConfig, ParallelConfig
from dreamjax.config.schema import Options, build, option, require
from dreamjax.seeds import TRAINING


@dataclass(frozen=True)
class Config(Options):
    """One run."""

    seed: int = option(0, "Seed of everything random; greater ones are for evaluation.", at_least=0, below=TRAINING)
    total_steps: int = option(100_000, "Length of the run, over all environments.", unit="environment steps", above=0)
    num_envs: int = option(8, "Environments stepped together.", above=0)
    batch_size: int = option(16, "Windows of a batch, over all devices.", above=0)
    batch_length: int = option(64, "Length T of a window.", unit="steps", at_least=2)
    horizon: int = option(15, "Length H of an imagined rollout.", unit="steps", above=0)
    train_ratio: float = option(64.0, "Replayed steps trained on for each environment step.", above=0)
    env: EnvConfig = field(default_factory=EnvConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    actor: ActorConfig = field(default_factory=ActorConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    imagination: ImaginationConfig = field(default_factory=ImaginationConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    explore: ExploreConfig = field(default_factory=ExploreConfig)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    init_from: InitFromConfig = field(default_factory=InitFromConfig)
    offline: OfflineConfig = field(default_factory=OfflineConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    log: LogConfig = field(default_factory=LogConfig)

    def check(self) -> None:
        """Raises ConfigError if groups do not go together."""
        _check_windows(self)
        _check_explorer(self)
        _check_calls(self)
        _check_batches(self)
        _check_ring(self)

    @property
    def parallel_rollouts(self) -> int:
        """Rollouts imagined by one actor-critic phase, over all devices."""
        plan = self.schedule.kind == "plan"
        windows = self.schedule.imagination_batch_size if plan else self.batch_size
        windows = len(self.replay.uniform_rows(windows)) if self.replay.uniform_fraction else windows
        return windows * (self.imagination.last or self.batch_length)

    @property
    def first_update(self) -> int:
        """Environment steps before the first update: ``replay.min_size``, one window and the step before it in every
        environment and ``replay.min_windows`` more, whichever is later."""
        return max(self.replay.min_size, self.num_envs * self.batch_length + self.replay.min_windows)

    @property
    def updates_per_step(self) -> float:
        """Updates for each environment step under the ratio schedule."""
        return self.train_ratio / (self.batch_size * self.batch_length)


def _check_windows(config: Config) -> None:
    """A window fits each environment's part of the replay, and what starts in a window fits the window."""
    length, per_env = config.batch_length, config.replay.capacity // config.num_envs
    allowed = f"a window must fit one environment's share of the replay, replay.capacity / num_envs = {per_env}"
    require(length <= per_env, "batch_length", length, allowed)
    first = config.first_update
    allowed = f"with one window in each environment, {first} steps must fit replay.capacity={config.replay.capacity}"
    require(
        not config.replay.min_windows or first <= config.replay.capacity,
        "replay.min_windows",
        config.replay.min_windows,
        allowed,
    )
    last = config.imagination.last
    require(last <= length, "imagination.last", last, f"must be at most batch_length={length}")


def _check_explorer(config: Config) -> None:
    """An explorer needs an ensemble and collects by itself."""
    if steps := config.explore.steps:
        conditions = {
            "needs an ensemble: ensemble.size=2 or more": config.ensemble.size > 0,
            "must be 0 with offline.replay: nothing is collected": not config.offline.replay,
        }
        for allowed, holds in conditions.items():
            require(holds, "explore.steps", steps, allowed)


def _check_calls(config: Config) -> None:
    """Several steps in one compiled call need the compiled engine in this process."""
    if config.schedule.steps_per_call > 1:
        for name, unset in (("env.workers", not config.env.workers), ("offline.replay", not config.offline.replay)):
            allowed = f"must be 1 with {name}: one call steps the compiled Tetris engine, in this process"
            require(unset, "schedule.steps_per_call", config.schedule.steps_per_call, allowed)


def _check_batches(config: Config) -> None:
    """Batches split into equal parts: over devices, over micro-batches, and into windows drawn uniformly."""
    devices, accumulate = config.parallel.num_devices, config.optimizer.accumulate
    if config.replay.uniform_fraction:
        parts = max(devices, 1) * accumulate
        windows = config.replay.uniform_fraction * config.batch_size / parts
        allowed = (
            f"must be a share of batch_size={config.batch_size} that gives each of parallel.num_devices x "
            f"optimizer.accumulate = {parts} parts whole windows, 1 or more"
        )
        require(
            windows >= 1 and abs(windows - round(windows)) < 1e-6,
            "replay.uniform_fraction",
            config.replay.uniform_fraction,
            allowed,
        )
    if devices:
        batches = {"batch_size": config.batch_size}
        if config.schedule.kind == "plan":
            batches["schedule.imagination_batch_size"] = config.schedule.imagination_batch_size
        for name, size in batches.items():
            allowed = f"must be a multiple of parallel.num_devices x optimizer.accumulate = {devices * accumulate}"
            require(size % (devices * accumulate) == 0, name, size, allowed)


def _check_ring(config: Config) -> None:
    """The buffer of imagined rollouts holds those of one phase."""
    if config.imagination.use_ring:
        rollout, capacity = config.horizon * config.parallel_rollouts, config.imagination.capacity
        allowed = f"must hold the rollouts of one phase, {rollout} imagined steps"
        require(rollout <= capacity, "imagination.capacity", capacity, allowed)


def defaults() -> dict[str, Any]:
    """The default configuration as a nested dictionary."""
    return to_dict(Config())


def to_dict(config: Config) -> dict[str, Any]:
    """A configuration as a nested dictionary of plain values; ``from_dict`` is its inverse."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(values: Mapping[str, Any]) -> Config:
    """Builds and checks a configuration. Fields of earlier versions are read with a warning; see ``legacy``.

    Raises:
        ConfigError: on an unknown field, a wrong type or a value that is not allowed.
    """
    return build(Config, legacy.translate(values))
