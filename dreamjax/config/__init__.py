"""The whole configuration as frozen dataclasses: defaults, meaning and allowed values, each next to its field.

A configuration file builds a nested dictionary (``ml_collections.ConfigDict``), the command line overrides entries, and
``from_dict`` turns the result once into a ``Config``. Unknown names, wrong types and values that are not allowed raise
``ConfigError`` with the field, the value and what is allowed. ``dreamjax config`` lists all fields.
"""

from dreamjax.config.config import Config, defaults, from_dict, to_dict
from dreamjax.config.environment import EnvConfig
from dreamjax.config.learning import ExploreConfig, ImaginationConfig, LossConfig, OptimizerConfig, ScheduleConfig
from dreamjax.config.networks import ActorConfig, CriticConfig, EnsembleConfig, ModelConfig
from dreamjax.config.planning import PlannerConfig
from dreamjax.config.replay import OfflineConfig, ReplayConfig
from dreamjax.config.running import CheckpointConfig, EvalConfig, InitFromConfig, LogConfig, ParallelConfig
from dreamjax.config.schema import ConfigError, merge

__all__ = [
    "ActorConfig", "CheckpointConfig", "Config", "ConfigError", "CriticConfig", "EnsembleConfig", "EnvConfig", "EvalConfig",
    "ExploreConfig", "ImaginationConfig", "InitFromConfig", "LogConfig", "LossConfig", "ModelConfig", "OfflineConfig",
    "OptimizerConfig", "ParallelConfig", "PlannerConfig", "ReplayConfig", "ScheduleConfig", "defaults", "from_dict",
    "merge", "to_dict",
]  # fmt: skip
