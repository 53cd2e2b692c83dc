"""Named settings that a configuration file starts from: DreamerV3's sizes, the plan's numbers, and small runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dreamjax.config import ConfigError, defaults, merge

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


def size(name: str) -> dict[str, Any]:
    """Overrides that set DreamerV3's size ``name`` for world model, actor and critic."""
    if name not in SIZES:
        raise ConfigError(f"size={name!r} is not allowed: must be one of {sorted(SIZES)}")
    model = dict(SIZES[name])
    return {"model": model, "actor": {"units": model["units"]}, "critic": {"units": model["units"]}}


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
        "optimiser": dict(
            kind="adam", world_model_lr=3e-4, actor_lr=8e-5, critic_lr=8e-5, eps=1e-8, agc=0.0, clip=100.0, warmup=0
        ),
        "replay": dict(capacity=100_000, min_size=1_000),
        "imagination": dict(last=0, capacity=50_000, use_ring=True),
        "schedule": dict(kind="plan", world_model_batches=10, actor_critic_batches=5, imagination_batch_size=16),
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
        "model": dict(deter=64, blocks=4, hidden=32, stoch=8, classes=8, units=32, layers=1, head_layers=1),
        "actor": dict(layers=1, units=32),
        "critic": dict(layers=1, units=32),
        "replay": dict(capacity=2_000, min_size=128),
        "imagination": dict(capacity=2_000),
        "schedule": dict(collect_steps=64, world_model_batches=2, actor_critic_batches=1, imagination_batch_size=4),
        "checkpoint": dict(every=320),
        "eval": dict(every=320, episodes=2, num_envs=2),
        "log": dict(every=1.0, metrics_every=5),
    }


def variants(base: Mapping[str, Any], variant: str = "", **more: Mapping[str, Any]) -> ConfigDict:
    """A configuration file's variants over the defaults and ``base``.

    "" is the base, "smoke" shrinks it, "plan" gives it the plan's sizes and schedule; ``more`` names further ones. They
    join by commas, from left to right: "plan,smoke".

    Raises:
        ConfigError: if the variant is not known.
    """
    from ml_collections import ConfigDict

    known = {"smoke": smoke(), "plan": plan(), **more}
    layers = []
    for name in filter(None, variant.split(",")):
        if name not in known:
            raise ConfigError(f"variant {name!r} is not allowed: must be one of {sorted(known)}, joined by commas")
        layers.append(known[name])
    return ConfigDict(merge(defaults(), base, *layers))
