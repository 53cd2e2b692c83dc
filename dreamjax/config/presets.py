"""Named settings that a configuration file starts from: DreamerV3 and its sizes, DreamerV2, the plan, and small runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from dreamjax.config import legacy
from dreamjax.config.config import defaults
from dreamjax.config.schema import ConfigError, merge

if TYPE_CHECKING:
    from ml_collections import ConfigDict

# DreamerV3's sizes (Nature 2025, Extended Data Table 3; the reference's size presets).
SIZES: dict[str, dict[str, int]] = {
    "1m": dict(deter=512, hidden=64, classes=4, units=64, conv_depth=4),
    "12m": dict(deter=2048, hidden=256, classes=16, units=256, conv_depth=16),
    "25m": dict(deter=3072, hidden=384, classes=24, units=384, conv_depth=24),
    "50m": dict(deter=4096, hidden=512, classes=32, units=512, conv_depth=32),
    "100m": dict(deter=6144, hidden=768, classes=48, units=768, conv_depth=48),
    "200m": dict(deter=8192, hidden=1024, classes=64, units=1024, conv_depth=64),
    "400m": dict(deter=12288, hidden=1536, classes=96, units=1536, conv_depth=96),
}


class Suite(NamedTuple):
    """What the published code sets for a suite of tasks; ``total_steps=None``: no end."""

    total_steps: int | None
    num_envs: int
    train_ratio: float
    size: str


# dreamerv3/configs.yaml of danijar/dreamerv3, main of May 2026; its defaults where a suite says nothing. Steps are the
# agent's: action repeat and the size of images are the environment's, and have no field here (docs/configuration.md).
SUITES: dict[str, Suite] = {
    "atari": Suite(51_000_000, 16, 32, "200m"),
    "atari100k": Suite(110_000, 1, 256, "200m"),
    "bsuite": Suite(None, 1, 1024, "200m"),
    "crafter": Suite(1_100_000, 1, 512, "200m"),
    "dmlab": Suite(26_000_000, 16, 32, "200m"),
    "loconav": Suite(None, 16, 256, "200m"),
    "minecraft": Suite(None, 16, 32, "200m"),
    "procgen": Suite(110_000_000, 16, 64, "200m"),
    "proprio": Suite(1_100_000, 16, 1024, "1m"),
    "vision": Suite(1_100_000, 16, 256, "200m"),
}
REPLAYED = 5_000_000  # steps that the published code keeps

# The task's actor collects and is evaluated: no planner, no explorer.
ACTOR_ALONE: dict[str, Any] = {
    "planner": dict(collect=False, evaluate=False),
    "explore": dict(steps=0),
    "ensemble": dict(size=0),
}


def size(name: str) -> dict[str, Any]:
    """Overrides that set DreamerV3's size ``name`` for world model, actor and critic."""
    if name not in SIZES:
        raise ConfigError(f"size={name!r} is not allowed: must be one of {sorted(SIZES)}")
    model = dict(SIZES[name])
    return {"model": model, "actor": {"units": model["units"]}, "critic": {"units": model["units"]}}


def suite(name: str) -> dict[str, Any]:
    """Overrides that set how much DreamerV3 learns from a suite, and in which size: they go after "dreamerv3".

    ``replay.capacity`` is that of the published code, 5,000,000, or what holds all records of a shorter run.
    """
    chosen = SUITES[name]
    amount: dict[str, Any] = {"num_envs": chosen.num_envs, "train_ratio": chosen.train_ratio}
    if chosen.total_steps is not None:
        amount["total_steps"] = chosen.total_steps
    capacity = min(REPLAYED, 11 * (chosen.total_steps or REPLAYED) // 10)
    return merge(amount, {"replay": {"capacity": capacity}}, size(chosen.size))


def dreamerv3() -> dict[str, Any]:
    """Overrides that set DreamerV3 as published (Hafner et al., Nature 2025), in its size 1m.

    Every number that decides what is learned is set, so that it does not matter what a file's own base says. Left to the
    file are the environment and how much of it: ``num_envs``, ``total_steps`` and ``replay.capacity`` (5,000,000 in the
    paper), unless a suite goes after it: "dreamerv3,crafter". A size goes last: "dreamerv3,12m", "dreamerv3,crafter,12m".

    It computes the numbers of the published code (danijar/dreamerv3, main of May 2026), which tests hold within 1e-5.
    Where paper and code differ:

    * The code's: the second moment decays by 0.999 (0.99 in Methods); vectors are compared without the factor 1/2 of the
      symlog loss; size 1m has 4 base channels (16 in Extended Data Table 4); a rollout's first step is weighed by the
      predicted continuation; the moving percentiles start at 0 and are not corrected for it; the first update waits for
      1,024 windows, and the online queue leaves one step between its windows. What reaches the world model is in both:
      the value loss on replayed steps does.
    * The paper's: discrete actors have 1 % of the uniform distribution (the code has lost it).
    * Ours: how boards, masks and buttons pressed together are encoded and predicted, for which nothing is published. Kept
      latents take two bytes: bfloat16 as they were computed, or float16 if computed in float32 (the code stores its
      bfloat16 as float32). The last record of an episode is not counted as a step (the code counts it).
    """
    algorithm: dict[str, Any] = {
        "batch_size": 16,
        "batch_length": 64,
        "horizon": 15,
        "train_ratio": 32.0,
        "model": dict(
            kind="rssm", latent="categorical", cell="block_gru", blocks=8, stoch=32, layers=3, head_layers=1,
            prior_layers=2, posterior_layers=1, grid_encoder="dense", image_conv="pooled", unimix=0.01, symlog=True,
            act="silu", norm="rms", reward_head="twohot", bins=255,
        ),
        "actor": dict(
            layers=3, unimix=0.01, entropy=3e-4, min_std=0.1, max_std=1.0, output_scale=0.01, binary_bias=()
        ),
        "critic": dict(
            layers=3, head="twohot", bins=255, slow_rate=0.02, slow_target=False, slow_regularizer=1.0, replay_scale=0.3,
            replay_gradient=True,
        ),
        "loss": dict(
            dyn=1.0, rep=0.1, free_nats=1.0, rec=1.0, reward=1.0, cont=1.0, gamma=1 - 1 / 333, lam=0.95,
            cont_discount=True, symlog_limit=20.0, return_norm="percentile", return_norm_rate=0.01, return_norm_limit=1.0,
            return_norm_debias=False,
        ),
        "optimizer": dict(
            kind="laprop", world_model_lr=4e-5, actor_lr=4e-5, critic_lr=4e-5, eps=1e-20, beta1=0.9, beta2=0.999,
            agc=0.3, clip=0.0, warmup=1000, actor_delay=0,
        ),
        # The reference's queue gives all it holds to the next batch: a batch of new windows only, if there are enough.
        # Learning begins with as many windows as a batch has steps, whatever the number of environments.
        "replay": dict(
            sampler="uniform", uniform_fraction=0.0, online=1.0, keep_latents=True, min_size=1, min_windows=1024
        ),
        "imagination": dict(last=0, use_ring=False, start_cont="predicted"),
        "schedule": dict(kind="ratio"),
        "parallel": dict(precision="auto"),
        "eval": dict(greedy=False),
        **ACTOR_ALONE,
    }  # fmt: skip
    return merge(algorithm, size("1m"))


def dreamerv2() -> dict[str, Any]:
    """Overrides that set DreamerV2's choices for Atari (Hafner et al. 2021, Table D.1) as far as one switch each does it.

    KL balance 0.8 of a scale 0.1 becomes ``dyn`` 0.08 and ``rep`` 0.02; the target critic copied every 100 updates becomes
    a moving average of the same pace. Not its own: layer norm in the GRU, ``tanh`` of rewards, weight decay, and squared
    errors of raw (here: symlog) rewards and values.
    """
    return {
        "batch_size": 50,
        "batch_length": 50,
        "horizon": 15,
        "train_ratio": 625.0,  # an update of 50 x 50 every 4 steps
        "model": dict(
            kind="rssm", latent="categorical", cell="gru", deter=600, stoch=32, classes=32, hidden=600, units=400, layers=4,
            head_layers=4, prior_layers=1, posterior_layers=1, grid_encoder="conv", image_conv="strided", conv_depth=48,
            unimix=0.0, symlog=False, act="elu", norm="none", reward_head="mse",
        ),
        "actor": dict(layers=4, units=400, unimix=0.0, entropy=1e-3, output_scale=1.0, binary_bias=()),
        "critic": dict(
            layers=4, units=400, head="mse", slow_rate=0.01, slow_target=True, slow_regularizer=0.0, replay_scale=0.0,
            replay_gradient=False,
        ),
        "loss": dict(
            dyn=0.08, rep=0.02, free_nats=0.0, rec=1.0, reward=1.0, cont=5.0, gamma=0.999, lam=0.95, cont_discount=True,
            return_norm="none",
        ),
        "optimizer": dict(
            kind="adam", world_model_lr=2e-4, actor_lr=4e-5, critic_lr=1e-4, eps=1e-5, beta1=0.9, beta2=0.999, agc=0.0,
            clip=100.0, warmup=0, actor_delay=0,
        ),
        "replay": dict(sampler="uniform", uniform_fraction=0.0, online=0.0, keep_latents=False, min_windows=0),
        "imagination": dict(last=0, use_ring=False, start_cont="true"),
        "schedule": dict(kind="ratio"),
        "parallel": dict(precision="float32"),
        "eval": dict(greedy=True),
        **ACTOR_ALONE,
    }  # fmt: skip


def plan() -> dict[str, Any]:
    """Overrides that set the plan's Gaussian world model, rates, buffers and schedule."""
    return {
        "batch_size": 32,
        "batch_length": 50,
        "horizon": 15,
        "model": dict(
            kind="rssm", latent="gaussian", cell="gru", deter=200, stoch=30, hidden=400, units=400, layers=2, head_layers=2,
            prior_layers=1, posterior_layers=1, act="relu", norm="none", grid_encoder="conv", conv_depth=32,
        ),
        "actor": dict(layers=2, units=400),
        "critic": dict(layers=2, units=400),
        "loss": dict(gamma=0.99, lam=0.95),
        "optimizer": dict(
            kind="adam", world_model_lr=3e-4, actor_lr=8e-5, critic_lr=8e-5, eps=1e-8, agc=0.0, clip=100.0, warmup=0,
            actor_delay=0,
        ),
        "replay": dict(sampler="uniform", uniform_fraction=0.0, capacity=100_000, min_size=1_000, min_windows=0),
        "imagination": dict(last=0, capacity=50_000, use_ring=True),
        "schedule": dict(kind="plan", world_model_batches=10, actor_critic_batches=5, imagination_batch_size=16),
        **ACTOR_ALONE,
    }  # fmt: skip


def smoke() -> dict[str, Any]:
    """Overrides that shrink any run to seconds while every phase still happens."""
    return {
        "total_steps": 640,
        "num_envs": 4,
        "batch_size": 4,
        "batch_length": 16,
        "horizon": 5,
        "train_ratio": 8.0,
        "model": dict(
            deter=64, blocks=4, hidden=32, stoch=8, classes=8, units=32, layers=1, head_layers=1, conv_depth=4
        ),
        "actor": dict(layers=1, units=32),
        "critic": dict(layers=1, units=32),
        "replay": dict(capacity=2_000, min_size=128, min_windows=0),
        "imagination": dict(capacity=2_000),
        "schedule": dict(collect_steps=64, world_model_batches=2, actor_critic_batches=1, imagination_batch_size=4),
        "checkpoint": dict(every=320),
        "eval": dict(every=320, episodes=2, num_envs=2),
        "log": dict(every=1.0, metrics_every=5),
    }


def wider(base: Mapping[str, Any], times: int) -> dict[str, Any]:
    """Overrides that make a configuration ``times`` as wide, with as many more environments and windows in a batch.

    A GPU does more of both in the same time. The train ratio stays, so an environment step costs as many replayed steps and
    an update sees more of them; Adam's and LaProp's rates fall with the width (Yang et al. 2022, Tensor Programs V).
    """
    base = legacy.translate(base)
    grown = {name: times * base[name] for name in ("num_envs", "batch_size")}
    widths = {"model": ("deter", "hidden", "units"), "actor": ("units",), "critic": ("units",)}
    parts = {part: {name: times * base[part][name] for name in names} for part, names in widths.items()}
    rates = ("world_model_lr", "actor_lr", "critic_lr")
    return grown | parts | {"optimizer": {name: base["optimizer"][name] / times for name in rates}}


def named() -> dict[str, dict[str, Any]]:
    """The variants that every configuration has, by name."""
    return {
        "smoke": smoke(),
        "plan": plan(),
        "dreamerv2": dreamerv2(),
        "dreamerv3": dreamerv3(),
        **{name: suite(name) for name in SUITES},
        **{name: size(name) for name in SIZES},
    }


def variants(base: Mapping[str, Any], variant: str = "", **more: Mapping[str, Any]) -> ConfigDict:
    """A configuration file's variants over the defaults and ``base``.

    "" is the base, "smoke" shrinks it, "plan", "dreamerv2" and "dreamerv3" give it the sizes, constants and schedule of
    those, the names of ``SUITES`` DreamerV3's steps, environments, train ratio and size for a suite, "1m" to "400m"
    DreamerV3's sizes; ``more`` names further ones. They join by commas, from left to right: "dreamerv3,12m",
    "dreamerv3,crafter,smoke".

    Raises:
        ConfigError: if the variant is not known.
    """
    from ml_collections import ConfigDict

    known = {**named(), **more}
    layers = []
    for name in filter(None, variant.split(",")):
        if name not in known:
            raise ConfigError(f"variant {name!r} is not allowed: must be one of {sorted(known)}, joined by commas")
        layers.append(known[name])
    return ConfigDict(legacy.merge_layers(defaults(), base, *layers))
