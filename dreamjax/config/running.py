"""Options of how a run runs: devices, first parameters, checkpoints, evaluations, logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dreamjax.config.schema import Options, option


@dataclass(frozen=True)
class ParallelConfig(Options):
    """Devices, precision and memory."""

    num_devices: int = option(
        1, "Local devices that share each batch; more than one run under pmap.", at_least=0, zero="all devices"
    )
    precision: Literal["float32", "bfloat16", "auto"] = option(
        "float32",
        "Dtype of computation; parameters stay float32. auto: bfloat16 on accelerators, float32 on CPUs.",
    )
    memory_fraction: float = option(0.8, "Fraction of a GPU's memory that XLA may take.", above=0, at_most=1)


@dataclass(frozen=True)
class InitFromConfig(Options):
    """Parameters that a fresh run starts from; a resumed run has its own."""

    path: str = option("", "A checkpoint, or a work directory (its newest one). Empty: none.")
    modules: tuple[str, ...] = option(
        ("*",),
        "Patterns of the parameters to take, by dotted name: world_model, world_model.*.decoder*. All other parameters "
        "and the optimizers' states start afresh.",
        rule=("patterns, one or more", lambda patterns: bool(patterns) and all(patterns)),
    )


@dataclass(frozen=True)
class CheckpointConfig(Options):
    """Checkpoints of the whole run."""

    every: int = option(20_000, "Period of checkpoints.", unit="environment steps", above=0)
    keep: int = option(2, "Newest checkpoints kept, in addition to the best by evaluation.", above=0)


@dataclass(frozen=True)
class EvalConfig(Options):
    """Evaluations during and after the run."""

    every: int = option(50_000, "Period of evaluations.", unit="environment steps", at_least=0, zero="only at the end")
    episodes: int = option(20, "Episodes of one evaluation.", at_least=0, zero="no evaluations")
    num_envs: int = option(16, "Environments stepped together.", above=0)
    max_length: int = option(
        27_000,
        "Length at which an episode is cut; it counts with its return so far. 27,000 steps are the 30 minutes of Atari.",
        unit="steps",
        at_least=0,
        zero="no limit",
    )
    in_training_env: bool = option(
        False,
        "Play in the training environments (num_envs of them), for simulators that allow one instance. Where their state "
        "cannot be saved, an evaluation cuts the training episodes under way.",
    )
    greedy: bool = option(True, "Act by the mode of the policy instead of sampling.")


@dataclass(frozen=True)
class LogConfig(Options):
    """Metrics, progress and pictures."""

    every: float = option(5.0, "Period of progress lines in the terminal.", unit="seconds", above=0)
    metrics_every: int = option(20, "Period of lines in metrics.jsonl.", unit="updates", above=0)
    tensorboard: bool = option(True, "Write TensorBoard files.")
    wandb: str = option("", "Project of Weights & Biases to log to as well (extra `wandb`). Empty: none.")
    dream_every: int = option(
        0, "Period of pictures of open-loop predictions.", unit="environment steps", at_least=0, zero="only at the end"
    )
