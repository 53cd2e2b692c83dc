"""Options of learning: losses, optimizers, imagination, exploration, schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dreamjax.config.schema import Options, option, require


@dataclass(frozen=True)
class LossConfig(Options):
    """Scales of the world-model losses, and constants of returns."""

    dyn: float = option(1.0, "Scale of the KL that moves the prior towards the posterior.", at_least=0)
    rep: float = option(0.1, "Scale of the KL that moves the posterior towards the prior.", at_least=0)
    free_nats: float = option(1.0, "KL below which neither of the two has a gradient.", unit="nats", at_least=0)
    rec: float = option(1.0, "Scale of every reconstruction loss.", at_least=0)
    reward: float = option(1.0, "Scale of the reward loss.", at_least=0)
    cont: float = option(1.0, "Scale of the continue loss.", at_least=0)
    gamma: float = option(1 - 1 / 333, "Discount of one environment step.", above=0, below=1)
    lam: float = option(0.95, "Mixing parameter of lambda-returns.", at_least=0, at_most=1)
    cont_discount: bool = option(
        True, "Put the discount into the target of the continue head (DreamerV3) instead of into the returns."
    )
    symlog_limit: float = option(
        20.0,
        "Range of the two-hot bins in symlog space: rewards and values lie in +-(e^x - 1). DreamerV3's 20 takes any "
        "reward; 8 suits returns below 1,000 and is more stable.",
        above=0,
        at_most=40,
    )
    return_norm: Literal["percentile", "none"] = option(
        "percentile", "How advantages are scaled: by the moving 5th-to-95th-percentile range of returns, or not."
    )
    return_norm_rate: float = option(0.01, "Rate of the moving percentiles.", above=0, at_most=1)
    return_norm_limit: float = option(1.0, "Lower bound of the range that advantages are divided by.", above=0)
    return_norm_debias: bool = option(
        True, "Correct the moving percentiles for their start at 0, as Adam corrects its moments; DreamerV3 does not."
    )


@dataclass(frozen=True)
class OptimizerConfig(Options):
    """The optimizers: one for each group of parameters."""

    kind: Literal["laprop", "adam"] = option("laprop", "LaProp (DreamerV3) or Adam.")
    world_model_lr: float = option(4e-5, "Learning rate of the world model.", above=0)
    actor_lr: float = option(4e-5, "Learning rate of the actor.", above=0)
    critic_lr: float = option(4e-5, "Learning rate of the critic.", above=0)
    eps: float = option(1e-20, "Constant added to the root of the second moment.", above=0)
    beta1: float = option(0.9, "Decay of the first moment.", at_least=0, below=1)
    beta2: float = option(0.999, "Decay of the second moment.", at_least=0, below=1)
    agc: float = option(
        0.3,
        "Adaptive gradient clipping: limit of a tensor's gradient norm relative to its own.",
        at_least=0,
        zero="off",
    )
    clip: float = option(0.0, "Limit of the global gradient norm.", at_least=0, zero="off")
    warmup: int = option(1000, "Updates over which learning rates rise from 0.", unit="updates", at_least=0)
    actor_delay: int = option(
        0,
        "Updates before the actor starts to learn, so that the critic is trained first.",
        unit="updates",
        at_least=0,
    )
    accumulate: int = option(1, "Micro-batches whose gradients are averaged into one update.", above=0)
    skip_nonfinite: int = option(
        0,
        "Consecutive updates that may be skipped because a metric or a parameter is not finite.",
        unit="updates",
        at_least=0,
        zero="the first one ends the run",
    )


@dataclass(frozen=True)
class ImaginationConfig(Options):
    """Start states of imagination, and the buffer of imagined rollouts."""

    last: int = option(
        0, "States at the end of each window from which rollouts start.", unit="steps", at_least=0, zero="all states"
    )
    start_cont: Literal["true", "predicted"] = option(
        "true",
        "What weighs a rollout's first step: whether the replayed episode went on there, or the continue head's "
        "prediction (DreamerV3).",
    )
    capacity: int = option(50_000, "Steps that the buffer keeps.", unit="imagined steps", above=0)
    use_ring: bool = option(
        False, "Train actor and critic on rollouts drawn from the buffer instead of the newest ones."
    )


@dataclass(frozen=True)
class ExploreConfig(Options):
    """Exploration before the task, by an actor and a critic trained on disagreement (Plan2Explore).

    They have the sizes and learning rates of the task's actor and critic, which learn from the same replay meanwhile.
    """

    steps: int = option(
        0,
        "First steps of the run, which the explorer collects.",
        unit="environment steps",
        at_least=0,
        zero="no explorer",
    )
    intrinsic: float = option(1.0, "Scale of the normalized disagreement in the explorer's rewards.", at_least=0)
    extrinsic: float = option(0.0, "Scale of the task's rewards in the explorer's rewards.", at_least=0)

    def check(self) -> None:
        """Raises ConfigError if the explorer has no reward."""
        allowed = "must be above 0 where extrinsic=0"
        require(self.intrinsic > 0 or self.extrinsic > 0, "intrinsic", self.intrinsic, allowed)


@dataclass(frozen=True)
class ScheduleConfig(Options):
    """When updates run."""

    kind: Literal["ratio", "plan"] = option(
        "ratio",
        "train_ratio replayed steps for each environment step, or rounds of collect_steps, world_model_batches and "
        "actor_critic_batches.",
    )
    collect_steps: int = option(
        200, "schedule.kind=plan: steps of one round, over all environments.", unit="environment steps", above=0
    )
    world_model_batches: int = option(
        10, "schedule.kind=plan: world-model updates of one round.", unit="updates", at_least=0
    )
    actor_critic_batches: int = option(
        5, "schedule.kind=plan: actor-critic updates of one round.", unit="updates", at_least=0
    )
    imagination_batch_size: int = option(
        16, "schedule.kind=plan: windows whose states start the rollouts of an actor-critic update.", above=0
    )
    updates_per_call: int = option(
        1,
        "Updates of one compiled call, where that many are pending. Priorities and latents reach the replay after the "
        "whole call; all other numbers are those of single calls. Pays where steps_per_call is above 1.",
        unit="updates",
        above=0,
    )
    steps_per_call: int = option(
        1,
        "Steps of each environment in one compiled call, for Tetris in this process only. Parameters, evaluations and "
        "checkpoints change between calls only, and total_steps is exceeded by less than one call.",
        unit="steps",
        above=0,
    )
