"""The whole configuration as frozen dataclasses: defaults and validation.

A configuration file builds a nested dictionary (``ml_collections.ConfigDict``), the command line overrides entries, and
``from_dict`` turns the result once into a ``Config``. Unknown names, wrong types and impossible values raise
``ConfigError`` with the field, the value got and what is allowed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dreamjax.fields import ConfigError as ConfigError
from dreamjax.fields import build, fraction, not_negative, positive, require, share
from dreamjax.fields import merge as merge
from dreamjax.seeds import TRAINING


@dataclass(frozen=True)
class EnvConfig:
    """Which environment, and how its instances are made.

    Attributes:
        id: a Gymnasium id, or ``module:Id-v0`` to import a module that registers it.
        action_mode: Tetris only: "direct" (eight buttons) or "locked_position" (200 cells); None elsewhere.
        kwargs: further keyword arguments of ``gymnasium.make``.
        workers: 0 steps environments in this process; N > 0 in N spawned processes that restart after a crash.
        timeout: seconds a worker may take for one step before it counts as hung; without workers, before that is told.
        hang_limit: without workers, seconds of one step after which the run ends (exit code 1); 0: it waits for ever.
        max_restarts: how often one worker may be restarted.
    """

    id: str = "dreamjax/Tetris-v0"
    action_mode: str | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    workers: int = 0
    timeout: float = 60.0
    hang_limit: float = 0.0
    max_restarts: int = 3

    def __post_init__(self) -> None:
        require(bool(self.id), "id", self.id, "must name a Gymnasium environment")
        modes = ("direct", "locked_position", None)
        require(self.action_mode in modes, "action_mode", self.action_mode, f"must be one of {modes}")
        not_negative(self, "workers", "max_restarts", "hang_limit")
        allowed = "needs workers=0: env.timeout is the workers' limit"
        require(self.hang_limit == 0 or self.workers == 0, "hang_limit", self.hang_limit, allowed)
        positive(self, "timeout")


@dataclass(frozen=True)
class ReplayConfig:
    """Replay of real steps, in host memory.

    Attributes:
        capacity: environment steps kept, over all environments.
        min_size: environment steps collected before the first update (the plan's ``min_buffer_size``).
        sampler: "uniform" over valid windows, or "prioritised" by the update's priorities.
        online: share of each batch taken from the newest windows, each at most once (DreamerV3's online queue).
        even: share of each batch drawn evenly by a prioritised sampler. Where it is above 0, the world model alone learns
            from the others, and priorities are its loss alone; what actor and critic learn from is what occurs.
        priority_exponent: exponent of priorities; 0 is uniform.
        priority_beta: exponent of importance weights; 0 leaves the loss unweighted.
        keep_latents: store latents beside the steps and begin windows from them, refreshed by every update.
    """

    capacity: int = 100_000
    min_size: int = 1_000
    sampler: Literal["uniform", "prioritised"] = "uniform"
    online: float = 0.0
    even: float = 0.0
    priority_exponent: float = 0.8
    priority_beta: float = 0.0
    keep_latents: bool = False

    def __post_init__(self) -> None:
        positive(self, "capacity", "min_size")
        require(self.min_size <= self.capacity, "min_size", self.min_size, f"must be at most capacity={self.capacity}")
        fraction(self, "online", "priority_beta", "even")
        not_negative(self, "priority_exponent")
        if self.even:
            prioritised = self.sampler == "prioritised" and not self.online and not self.priority_beta
            allowed = "must be 0 unless sampler='prioritised', online=0 and priority_beta=0"
            require(prioritised, "even", self.even, allowed)

    def even_rows(self, count: int) -> np.ndarray:
        """Which of a batch's ``count`` windows are drawn evenly, int64: spread, so that equal parts have as many each."""
        due = np.floor(np.arange(count + 1) * self.even + 1e-6)
        return np.flatnonzero(np.diff(due))


@dataclass(frozen=True)
class ModelConfig:
    """The world model.

    Attributes:
        kind: "rssm" (one vector of latents, any observation) or "grid" (a state that lies on the board; boards).
        reach: grid only: rows above and below the action's place that it may change; 0: the motion of an object as one
            (of grids without one: a whole band of columns).
        latent: "categorical" (straight-through, ``stoch`` x ``classes``) or "gaussian" (``stoch`` means and deviations).
        cell: "block_gru" (DreamerV3) or "gru" (the plan's dense GRU).
        deter: size of the recurrent state. blocks: groups of the block GRU.
        hidden: width of the transition, prior and posterior layers.
        units, layers: width and depth of encoder, decoder.
        head_layers: depth of the reward and continue heads (width ``units``).
        grid_encoder: boards by "dense" matrix products over patches (fast on CPUs) or "conv" (the plan's TetrisEncoder).
        conv_depth: channels of the first convolution of images (and of boards when "conv").
        unimix: uniform share in categorical priors and posteriors.
        min_std: lower bound of Gaussian deviations.
        symlog: whether vector observations are read and predicted in symlog space.
        act: activation function of all layers.
        norm: "rms" or "none".
        reward_head, bins: "twohot" (symexp two-hot over ``bins``) or "mse".
    """

    kind: Literal["rssm", "grid"] = "rssm"
    latent: Literal["categorical", "gaussian"] = "categorical"
    cell: Literal["block_gru", "gru"] = "block_gru"
    deter: int = 512
    blocks: int = 8
    stoch: int = 32
    classes: int = 4
    hidden: int = 64
    units: int = 64
    layers: int = 3
    head_layers: int = 1
    prior_layers: int = 2
    posterior_layers: int = 1
    grid_encoder: Literal["dense", "conv"] = "dense"
    conv_depth: int = 4
    unimix: float = 0.01
    min_std: float = 0.1
    symlog: bool = True
    act: Literal["silu", "relu", "elu", "gelu", "tanh"] = "silu"
    norm: Literal["rms", "none"] = "rms"
    reward_head: Literal["twohot", "mse"] = "twohot"
    bins: int = 255
    reach: int = 0

    def __post_init__(self) -> None:
        not_negative(self, "reach")
        positive(self, "deter", "blocks", "stoch", "classes", "hidden", "units", "layers", "conv_depth", "min_std")
        not_negative(self, "head_layers")
        positive(self, "prior_layers", "posterior_layers")
        fraction(self, "unimix")
        require(self.bins >= 3 and self.bins % 2 == 1, "bins", self.bins, "must be an odd number, 3 or more")
        if self.cell == "block_gru":
            require(self.deter % self.blocks == 0, "deter", self.deter, f"must be a multiple of blocks={self.blocks}")
        if self.latent == "categorical":
            require(self.classes >= 2, "classes", self.classes, "categorical latents need 2 or more")


@dataclass(frozen=True)
class ActorConfig:
    """The policy, trained by REINFORCE for every kind of action.

    Attributes:
        layers, units: size of the network. act and norm follow the world model.
        unimix: uniform share in categorical and binary policies.
        entropy: scale of the entropy bonus. imitation: scale of a loss towards what was done in replay, for where a planner
            collects; 0 turns it off.
        min_std, max_std: bounds of the deviation of continuous policies.
        output_scale: scale of the last layer's initial weights (small: begins uniform).
        binary_bias: initial bias of each bit's logit (a tuple as long as the bits, or empty for zeros): DreamJAX's own,
            so that rare-by-nature buttons such as a hard drop begin rare.
    """

    layers: int = 3
    units: int = 64
    unimix: float = 0.01
    entropy: float = 3e-4
    imitation: float = 0.0
    min_std: float = 0.1
    max_std: float = 1.0
    output_scale: float = 0.01
    binary_bias: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        positive(self, "layers", "units", "min_std", "max_std")
        not_negative(self, "entropy", "imitation", "output_scale")
        fraction(self, "unimix")
        require(self.min_std <= self.max_std, "min_std", self.min_std, f"must be at most max_std={self.max_std}")
        require(all(map(math.isfinite, self.binary_bias)), "binary_bias", self.binary_bias, "must be finite")


@dataclass(frozen=True)
class CriticConfig:
    """The value function.

    Attributes:
        layers, units: size of the network. head: "twohot" or "mse". bins: of the two-hot output.
        slow_rate: rate of the moving average that is the slow critic.
        slow_target: bootstrap from the slow critic rather than the critic.
        slow_regulariser: scale of the critic's loss towards the slow critic.
        replay_scale: scale of the value loss on replayed steps; 0 turns it off.
    """

    layers: int = 3
    units: int = 64
    head: Literal["twohot", "mse"] = "twohot"
    bins: int = 255
    slow_rate: float = 0.02
    slow_target: bool = False
    slow_regulariser: float = 1.0
    replay_scale: float = 0.3

    def __post_init__(self) -> None:
        positive(self, "layers", "units")
        share(self, "slow_rate")
        not_negative(self, "slow_regulariser", "replay_scale")
        require(self.bins >= 3 and self.bins % 2 == 1, "bins", self.bins, "must be an odd number, 3 or more")


@dataclass(frozen=True)
class LossConfig:
    """Scales of the world-model losses and the returns' constants.

    Attributes:
        dyn, rep: KL towards the prior and towards the posterior (KL balancing). free_nats: nats below which neither pulls.
        rec: scale of every reconstruction; reward, cont: of the heads.
        gamma, lam: discount and mixing of lambda-returns.
        cont_discount: put the discount into the continue target (DreamerV3) rather than into the returns.
        reach: two-hot bins of rewards and values reach ``+-(e^reach - 1)``. DreamerV3's 20 takes any reward, but turns the
            rounding of an untrained head into values of 0.1; 8 suits returns below 1,000 and is steadier.
        return_norm: "percentile" (5th to 95th, moving) or "none". return_norm_rate, return_norm_limit: its rate and floor.
    """

    dyn: float = 1.0
    rep: float = 0.1
    free_nats: float = 1.0
    rec: float = 1.0
    reward: float = 1.0
    cont: float = 1.0
    gamma: float = 1 - 1 / 333
    lam: float = 0.95
    cont_discount: bool = True
    reach: float = 20.0
    return_norm: Literal["percentile", "none"] = "percentile"
    return_norm_rate: float = 0.01
    return_norm_limit: float = 1.0

    def __post_init__(self) -> None:
        not_negative(self, "dyn", "rep", "free_nats", "rec", "reward", "cont")
        require(0 < self.gamma < 1, "gamma", self.gamma, "must lie in (0, 1)")
        fraction(self, "lam")
        share(self, "return_norm_rate")
        positive(self, "return_norm_limit", "reach")
        require(self.reach <= 40, "reach", self.reach, "must be at most 40")


@dataclass(frozen=True)
class OptimiserConfig:
    """One optimiser for each group of parameters.

    Attributes:
        kind: "laprop" (DreamerV3) or "adam".
        world_model_lr, actor_lr, critic_lr: learning rates.
        eps, beta1, beta2: constants of the optimiser.
        agc: adaptive gradient clipping by the norm of each tensor; 0 turns it off. clip: by the global norm; 0 off.
        warmup: updates over which the rates rise from 0.
        actor_delay: updates for which the actor stays as it began, so that the critic knows what follows first: until
            then the actor would see rewards within the horizon alone.
        accumulate: micro-batches whose gradients are averaged into one update.
        skip_nonfinite: updates in a row that may be left out because a metric or a parameter is not finite; 0: the
            first one ends the run.
    """

    kind: Literal["laprop", "adam"] = "laprop"
    world_model_lr: float = 4e-5
    actor_lr: float = 4e-5
    critic_lr: float = 4e-5
    eps: float = 1e-20
    beta1: float = 0.9
    beta2: float = 0.999
    agc: float = 0.3
    clip: float = 0.0
    warmup: int = 1000
    actor_delay: int = 0
    accumulate: int = 1
    skip_nonfinite: int = 0

    def __post_init__(self) -> None:
        positive(self, "world_model_lr", "actor_lr", "critic_lr", "eps", "accumulate")
        not_negative(self, "agc", "clip", "warmup", "actor_delay", "skip_nonfinite")
        for name in ("beta1", "beta2"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "must lie in [0, 1)")


@dataclass(frozen=True)
class ImaginationConfig:
    """Which states imagination starts from, and the ring of imagined rollouts.

    Attributes:
        last: begin from the last ``last`` states of each window; 0 begins from all.
        capacity: imagined steps the ring keeps (the plan's ``imagination_size``).
        use_ring: train actor and critic on rollouts drawn from the ring instead of the fresh ones.
        draw: rollouts drawn for each actor-critic phase (over all devices); 0 draws as many as were imagined.
    """

    last: int = 0
    capacity: int = 50_000
    use_ring: bool = False
    draw: int = 0

    def __post_init__(self) -> None:
        not_negative(self, "last", "draw")
        positive(self, "capacity")


@dataclass(frozen=True)
class EnsembleConfig:
    """One-step predictors whose disagreement can reward exploration (Plan2Explore, Sekar et al. 2020).

    Attributes:
        size: members K; 0 turns the ensemble off.
        layers, units: size of each member. act and norm follow the world model.
        lr: learning rate; the rest of the optimiser is ``optimiser``'s.
        bonus: scale of the disagreement added to imagined rewards, in units of its own 5th-to-95th-percentile range.
        extrinsic: scale of the imagined rewards themselves.
        rate: of that moving range.
        penalty: scale of the disagreement taken off imagined rewards, in the same units: what the model does not know
            is then not worth going for.
        limit: an imagined step that is disagreed on more than ``limit`` times as much as replayed steps are on average
            ends its rollout, with nothing to come; 0: none does.
    """

    size: int = 0
    layers: int = 2
    units: int = 64
    lr: float = 3e-4
    bonus: float = 0.0
    extrinsic: float = 1.0
    rate: float = 0.01
    penalty: float = 0.0
    limit: float = 0.0

    def __post_init__(self) -> None:
        require(self.size == 0 or self.size >= 2, "size", self.size, "must be 0 (off), or 2 or more members")
        positive(self, "layers", "units", "lr")
        not_negative(self, "bonus", "extrinsic", "penalty", "limit")
        share(self, "rate")
        require(self.size > 0 or self.bonus == 0, "bonus", self.bonus, "needs an ensemble: size=2 or more")
        require(self.size > 0 or self.extrinsic == 1, "extrinsic", self.extrinsic, "needs an ensemble: size=2 or more")
        require(self.size > 0 or self.penalty == 0, "penalty", self.penalty, "needs an ensemble: size=2 or more")
        require(self.size > 0 or self.limit == 0, "limit", self.limit, "needs an ensemble: size=2 or more")
        require(self.bonus == 0 or self.penalty == 0, "penalty", self.penalty, f"must be 0 beside bonus={self.bonus}")


@dataclass(frozen=True)
class ExploreConfig:
    """A phase of exploration before the task: an explorer with an actor and a critic of its own (Plan2Explore).

    They are of the task's sizes and rates, and are trained in imagination on the ensemble's disagreement, while the task's
    actor and critic learn from the same replay.

    Attributes:
        steps: environment steps, from the first on, that the explorer collects, and in which it learns; 0: no explorer.
        intrinsic: scale of the disagreement in its rewards, in units of its own 5th-to-95th-percentile range.
        extrinsic: scale of the task's rewards in its rewards.
    """

    steps: int = 0
    intrinsic: float = 1.0
    extrinsic: float = 0.0

    def __post_init__(self) -> None:
        not_negative(self, "steps", "intrinsic", "extrinsic")
        require(
            self.intrinsic > 0 or self.extrinsic > 0, "intrinsic", self.intrinsic, "must be above 0 where extrinsic=0"
        )


@dataclass(frozen=True)
class PlannerConfig:
    """Planning in the learned model before every step: ``--agent=planner``.

    Attributes:
        method: "gumbel" (tree search), "one_step" (each action once, for actions that can be listed), "cem" or "mppi"
            (shooting: sequences of actions, refitted round by round), "piecewise" (one round of sequences that change each
            part of the action once, and the previous plan; "held" is its old name).
        collect: act by it while collecting. evaluate: and in evaluations.
        num_simulations: model steps of one tree search. depth: of the tree, at most; 0: no limit.
        actions: candidates of a state, by "gumbel" and "one_step": the likeliest (all legal ones where there are no more;
            0: all), or as many draws where actions cannot be listed. considered: candidates of the root that the halving
            of its budget begins with.
        value_scale, visit_offset: weight of values: actions are scored by ``log prior + value_scale (visit_offset + m) q``
            with ``m`` the visits of the most visited and ``q`` in [0, 1] from the node's least value to its greatest.
        bootstrap: weight of the critic's value in "one_step"; 0 acts by the predicted reward alone. act_temperature: of its
            draws where it collects, in standard deviations of the candidates' values.
        horizon: steps of a sequence; the critic values what follows. candidates: sequences, of "cem" and "mppi" in each of
            ``iterations`` rounds. policy_share: share of them that follow the actor there.
        elites: the best of them that "cem" refits to. temperature: of "mppi", in standard deviations of their returns.
    """

    method: Literal["gumbel", "one_step", "cem", "mppi", "piecewise", "held"] = "gumbel"
    collect: bool = False
    evaluate: bool = False
    num_simulations: int = 50
    depth: int = 0
    actions: int = 32
    considered: int = 4
    value_scale: float = 0.1
    visit_offset: float = 50.0
    bootstrap: float = 1.0
    act_temperature: float = 0.1
    horizon: int = 8
    candidates: int = 64
    iterations: int = 4
    policy_share: float = 0.25
    elites: int = 8
    temperature: float = 0.5

    def __post_init__(self) -> None:
        if self.method == "held":
            object.__setattr__(self, "method", "piecewise")
        positive(self, "num_simulations", "horizon", "iterations", "temperature", "act_temperature")
        not_negative(self, "depth", "actions", "value_scale", "visit_offset")
        fraction(self, "policy_share", "bootstrap")
        for name in ("considered", "candidates"):
            require(getattr(self, name) >= 2, name, getattr(self, name), "must be 2 or more")
        require(self.actions != 1, "actions", self.actions, "must be 0 (all), or 2 or more")
        positive(self, "elites")
        if self.method == "cem":
            allowed = f"must be at most candidates={self.candidates} for planner.method='cem'"
            require(self.elites <= self.candidates, "elites", self.elites, allowed)


@dataclass(frozen=True)
class ScheduleConfig:
    """When updates run.

    Attributes:
        kind: "ratio" (``train_ratio`` replayed steps for each environment step) or "plan" (rounds: collect
            ``collect_steps``, then ``world_model_batches``, then ``actor_critic_batches``).
        collect_steps: environment steps of one round, over all environments.
        imagination_batch_size: windows whose states begin the rollouts of an actor-critic batch of a round.
        updates_per_call: updates of one compiled call, where that many are owed at once; what
            is left over is made one by one. The numbers are those of single calls, but for what replay learns from
            updates (priorities, kept latents): that comes after the whole call. Each of the two programs is compiled. 1,
            since most configurations owe one or two updates after a step; where ``steps_per_call`` has more owed at once,
            8 take 0.71 of the time of 8 single ones (``tetris_direct``, two CPU cores; README, "Update").
        steps_per_call: steps of all environments in one compiled call (policy and engine in one scan), for Tetris in this
            process only. What is collected is what single steps collect with the same parameters, which change between
            calls: updates, evaluations and checkpoints wait for the end of a call, ``num_envs * steps_per_call``
            environment steps, and ``total_steps`` is passed by less than one call.
    """

    kind: Literal["ratio", "plan"] = "ratio"
    collect_steps: int = 200
    world_model_batches: int = 10
    actor_critic_batches: int = 5
    imagination_batch_size: int = 16
    updates_per_call: int = 1
    steps_per_call: int = 1

    def __post_init__(self) -> None:
        positive(self, "collect_steps", "imagination_batch_size", "updates_per_call", "steps_per_call")
        not_negative(self, "world_model_batches", "actor_critic_batches")


@dataclass(frozen=True)
class ParallelConfig:
    """Devices and numbers.

    Attributes:
        num_devices: local devices that share each batch; 0 uses all. More than one runs under ``pmap``.
        precision: compute dtype; parameters stay float32.
        memory_fraction: share of a GPU's memory that XLA may take (the plan's 0.8). preallocate: take it at the start.
    """

    num_devices: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    memory_fraction: float = 0.8
    preallocate: bool = False

    def __post_init__(self) -> None:
        not_negative(self, "num_devices")
        share(self, "memory_fraction")


@dataclass(frozen=True)
class InitFromConfig:
    """What a fresh run's parameters begin as; a run that goes on has its own.

    Attributes:
        path: a checkpoint, or a work directory (its newest one); empty: none.
        modules: patterns of parameters by dotted name, ``*`` for any part: "world_model", "world_model.*.decoder*".
            Parameters that none matches begin afresh, as optimisers and everything else do.
    """

    path: str = ""
    modules: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        require(bool(self.modules) and all(self.modules), "modules", self.modules, "must be patterns, one or more")


@dataclass(frozen=True)
class OfflineConfig:
    """``replay``: a work directory or an NPZ file whose steps are learned from, without an environment; empty: none."""

    replay: str = ""


@dataclass(frozen=True)
class CheckpointConfig:
    """``every``: environment steps between checkpoints. ``keep``: how many are kept, beside the best by evaluation."""

    every: int = 20_000
    keep: int = 2

    def __post_init__(self) -> None:
        positive(self, "every", "keep")


@dataclass(frozen=True)
class EvalConfig:
    """``every``: environment steps between evaluations (0: only at the end) of ``episodes`` greedy episodes.

    ``num_envs`` run side by side; ``greedy`` acts by the policy's mode.
    """

    every: int = 50_000
    episodes: int = 20
    num_envs: int = 16
    greedy: bool = True

    def __post_init__(self) -> None:
        not_negative(self, "every")
        positive(self, "episodes", "num_envs")


@dataclass(frozen=True)
class LogConfig:
    """``every``: seconds between lines on the terminal. ``metrics_every``: updates between lines of metrics.jsonl.

    ``dream_every``: environment steps between pictures of dreams (0: only at the end). ``coverage``: distinct grids (what
    a "grid" observation shows in its first channel) that are counted at most; 0: none are.
    """

    every: float = 5.0
    metrics_every: int = 20
    tensorboard: bool = True
    dream_every: int = 0
    coverage: int = 0

    def __post_init__(self) -> None:
        positive(self, "every", "metrics_every")
        not_negative(self, "dream_every", "coverage")


@dataclass(frozen=True)
class Config:
    """One run.

    Attributes:
        seed: of everything random. total_steps: environment steps, over all environments.
        num_envs: environments stepped together. batch_size: windows in the global batch. batch_length: their length T.
        horizon: H, imagined steps. train_ratio: replayed steps trained on for each environment step.
    """

    seed: int = 0
    total_steps: int = 100_000
    num_envs: int = 8
    batch_size: int = 16
    batch_length: int = 64
    horizon: int = 15
    train_ratio: float = 64.0
    env: EnvConfig = field(default_factory=EnvConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    actor: ActorConfig = field(default_factory=ActorConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
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

    def __post_init__(self) -> None:
        not_negative(self, "seed")
        require(self.seed < TRAINING, "seed", self.seed, f"must be below {TRAINING}: greater ones are for evaluation")
        positive(self, "total_steps", "num_envs", "batch_size", "batch_length", "horizon", "train_ratio")
        require(self.batch_length >= 2, "batch_length", self.batch_length, "must be 2 or more")
        per_env = self.replay.capacity // self.num_envs
        require(
            self.batch_length <= per_env,
            "batch_length",
            self.batch_length,
            f"a window must fit one environment's share of the replay, replay.capacity / num_envs = {per_env}",
        )
        last = self.imagination.last
        require(
            last <= self.batch_length, "imagination.last", last, f"must be at most batch_length={self.batch_length}"
        )
        if self.explore.steps:
            steps = self.explore.steps
            require(self.ensemble.size > 0, "explore.steps", steps, "needs an ensemble: ensemble.size=2 or more")
            require(
                not self.offline.replay, "explore.steps", steps, "must be 0 with offline.replay: nothing is collected"
            )
        if self.schedule.steps_per_call > 1:
            for name, unset in (("env.workers", not self.env.workers), ("offline.replay", not self.offline.replay)):
                allowed = f"must be 1 with {name}: one call steps the compiled Tetris engine, in this process"
                require(unset, "schedule.steps_per_call", self.schedule.steps_per_call, allowed)
        devices = self.parallel.num_devices
        if self.replay.even:
            windows = self.replay.even * self.batch_size / (max(devices, 1) * self.optimiser.accumulate)
            allowed = (
                f"must be a share of batch_size={self.batch_size} that gives each of parallel.num_devices x "
                f"optimiser.accumulate = {max(devices, 1) * self.optimiser.accumulate} parts whole windows, 1 or more"
            )
            require(windows >= 1 and abs(windows - round(windows)) < 1e-6, "replay.even", self.replay.even, allowed)
        if devices:
            batches = [("batch_size", self.batch_size), ("imagination.draw", self.imagination.draw)]
            if self.schedule.kind == "plan":
                batches.append(("schedule.imagination_batch_size", self.schedule.imagination_batch_size))
            parts = devices * self.optimiser.accumulate
            for name, size in batches:
                allowed = f"must be a multiple of parallel.num_devices x optimiser.accumulate = {parts}"
                require(size % parts == 0, name, size, allowed)
        rollout = self.horizon * self.parallel_rollouts
        if self.imagination.use_ring:
            require(
                rollout <= self.imagination.capacity,
                "imagination.capacity",
                self.imagination.capacity,
                f"must hold the rollouts of one phase, {rollout} imagined steps",
            )

    @property
    def parallel_rollouts(self) -> int:
        """Rollouts imagined by one actor-critic phase, over all devices."""
        plan = self.schedule.kind == "plan"
        windows = self.schedule.imagination_batch_size if plan else self.batch_size
        windows = len(self.replay.even_rows(windows)) if self.replay.even else windows
        return windows * (self.imagination.last or self.batch_length)

    @property
    def updates_per_step(self) -> float:
        """Updates for each environment step under the ratio schedule."""
        return self.train_ratio / (self.batch_size * self.batch_length)


def defaults() -> dict[str, Any]:
    """The default configuration as a nested dictionary."""
    return to_dict(Config())


def to_dict(config: Config) -> dict[str, Any]:
    """A configuration as a nested dictionary of plain values; ``from_dict`` is its inverse."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(values: Mapping[str, Any]) -> Config:
    """Builds and checks a configuration.

    Raises:
        ConfigError: on an unknown field, a wrong type or an impossible value.
    """
    return build(Config, without_removed(values))


def without_removed(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` without removed fields, a warning for each that was in use; acting by one step is now the planner's.

    ``search.collect`` and ``search.evaluate`` become ``planner.method="one_step"``.
    """
    values = merge(values)
    search = values.pop("search", {})
    planner = values.get("planner", {})
    for name, new in (("bootstrap", "bootstrap"), ("act_temperature", "act_temperature")):
        if name in search:
            planner.setdefault(new, search[name])
    acts = [name for name in ("collect", "evaluate") if search.get(name)]
    if acts and not (planner.get("collect") or planner.get("evaluate")):
        planner |= {"method": "one_step", "actions": search.get("act_actions", 64)} | dict.fromkeys(acts, True)
        warnings.warn(f"search.{acts[0]} is now planner.{acts[0]} with planner.method='one_step'", stacklevel=3)
    if search.get("learn", "off") != "off":
        warnings.warn(f"search.learn={search['learn']!r} was removed: it is ignored", stacklevel=3)
    for name in ("penalty", "limit"):
        if planner.pop(name, 0):
            warnings.warn(f"planner.{name} was removed: it is ignored", stacklevel=3)
    return values | ({"planner": planner} if planner else {})
