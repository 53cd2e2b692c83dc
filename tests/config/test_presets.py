"""Named settings: DreamerV3 against the numbers of the reference's configs.yaml, sizes, and how variants join."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dreamjax import config as config_lib
from dreamjax import configs
from dreamjax.commands import cli
from dreamjax.config import Config, ConfigError, presets

NAMES = configs.names()

# A base that sets everything otherwise: a preset must not lean on the defaults.
OTHER: dict[str, Any] = {
    "batch_size": 8, "batch_length": 8, "horizon": 3, "train_ratio": 3.0,
    "model": dict(
        kind="grid", latent="gaussian", cell="gru", deter=8, blocks=2, stoch=3, classes=3, hidden=8, units=8, layers=1,
        head_layers=2, prior_layers=1, posterior_layers=2, grid_encoder="conv", conv_depth=3, unimix=0.5, symlog=False,
        act="tanh", norm="none", reward_head="mse", bins=5,
    ),
    "actor": dict(layers=1, units=8, unimix=0.5, entropy=1.0, min_std=0.2, max_std=2.0, output_scale=1.0),
    "critic": dict(
        layers=1, units=8, head="mse", bins=5, slow_rate=1.0, slow_target=True, slow_regularizer=0.0, replay_scale=0.0,
        replay_gradient=False,
    ),
    "loss": dict(
        dyn=2.0, rep=2.0, free_nats=2.0, rec=2.0, reward=2.0, cont=2.0, gamma=0.5, lam=0.5, cont_discount=False,
        symlog_limit=8.0, return_norm="none", return_norm_rate=0.5, return_norm_limit=2.0,
        return_norm_debias=True,
    ),
    "optimizer": dict(
        kind="adam", world_model_lr=1.0, actor_lr=1.0, critic_lr=1.0, eps=1.0, beta1=0.5, beta2=0.5, agc=0.0, clip=1.0,
        warmup=1, actor_delay=7,
    ),
    "imagination": dict(last=2, use_ring=True, start_cont="true"),
    "replay": dict(sampler="prioritized", uniform_fraction=0.5, keep_latents=False, min_size=10, min_windows=5),
    "schedule": dict(kind="plan"),
    "planner": dict(collect=True, evaluate=True),
    "ensemble": dict(size=3), "explore": dict(steps=100), "eval": dict(greedy=True), "parallel": dict(precision="float32"),
}  # fmt: skip

# What dreamerv3/configs.yaml of the reference says (its `defaults` and `size1m`), by our names.
REFERENCE: dict[str, Any] = {
    "batch_size": 16, "batch_length": 64, "horizon": 15, "train_ratio": 32.0,  # run.train_ratio
    "model.cell": "block_gru", "model.deter": 512, "model.hidden": 64, "model.stoch": 32, "model.classes": 4,
    "model.act": "silu", "model.norm": "rms", "model.unimix": 0.01, "model.prior_layers": 2, "model.posterior_layers": 1,
    "model.blocks": 8, "loss.free_nats": 1.0, "model.conv_depth": 4, "model.layers": 3, "model.units": 64,
    "model.image_conv": "pooled",
    "model.symlog": True, "model.head_layers": 1, "model.reward_head": "twohot", "model.bins": 255,
    "actor.layers": 3, "actor.units": 64, "actor.min_std": 0.1, "actor.max_std": 1.0, "actor.output_scale": 0.01,
    "actor.unimix": 0.01, "critic.layers": 3, "critic.units": 64, "critic.head": "twohot", "critic.bins": 255,
    "loss.rec": 1.0, "loss.reward": 1.0, "loss.cont": 1.0, "loss.dyn": 1.0, "loss.rep": 0.1, "critic.replay_scale": 0.3,
    "optimizer.world_model_lr": 4e-5, "optimizer.actor_lr": 4e-5, "optimizer.critic_lr": 4e-5, "optimizer.agc": 0.3,
    "optimizer.eps": 1e-20, "optimizer.beta1": 0.9, "optimizer.beta2": 0.999, "optimizer.kind": "laprop",
    "optimizer.warmup": 1000, "optimizer.clip": 0.0, "optimizer.actor_delay": 0, "replay.uniform_fraction": 0.0,
    "imagination.last": 0, "loss.gamma": 1 - 1 / 333, "loss.cont_discount": True, "loss.lam": 0.95,
    "actor.entropy": 3e-4, "critic.slow_regularizer": 1.0, "critic.slow_target": False, "critic.slow_rate": 0.02,
    "loss.return_norm": "percentile", "loss.return_norm_rate": 0.01, "loss.return_norm_limit": 1.0,
    "loss.symlog_limit": 20.0, "replay.sampler": "uniform", "replay.online": 1.0,
    "replay.keep_latents": True, "replay.min_size": 1, "replay.min_windows": 1024,  # batch_size x batch_length
    "model.kind": "rssm", "model.latent": "categorical", "imagination.use_ring": False, "schedule.kind": "ratio",
    "planner.collect": False, "planner.evaluate": False, "ensemble.size": 0, "explore.steps": 0,
    "eval.greedy": False, "parallel.precision": "auto",  # bfloat16 there
    # Of its code, not of its configuration:
    "critic.replay_gradient": True, "imagination.start_cont": "predicted", "loss.return_norm_debias": False,
}  # fmt: skip


def field(config: Config, name: str) -> Any:
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def build(*layers: dict[str, Any]) -> Config:
    return config_lib.from_dict(config_lib.merge(*layers))


def test_dreamerv3_is_the_reference_whatever_the_base_says() -> None:
    config = build(OTHER, presets.dreamerv3())
    assert {name: field(config, name) for name in REFERENCE} == REFERENCE


def test_dreamerv3_is_the_default_where_that_is_not_said_to_differ() -> None:
    """The defaults of `Config` are DreamerV3's but for what is listed here; docs/tried.md says why."""
    ours: dict[str, Any] = {
        "train_ratio": 64.0,
        "model": dict(image_conv="strided"),
        "replay": dict(online=0.0, keep_latents=False, min_size=1000, min_windows=0),
        "critic": dict(replay_gradient=False),
        "imagination": dict(start_cont="true"),
        "loss": dict(return_norm_debias=True),
        "parallel": dict(precision="float32"),
        "eval": dict(greedy=True),
    }
    assert build(presets.dreamerv3(), ours) == build(ours) == build()


@pytest.mark.parametrize("size", list(presets.SIZES))
def test_a_size_changes_sizes_alone(size: str) -> None:
    """Sizes set widths of all networks and nothing of the algorithm; the larger, the more of each."""
    base, config = build(presets.dreamerv3()), build(presets.dreamerv3(), presets.size(size))
    assert config.model.units == config.actor.units == config.critic.units == 16 * config.model.conv_depth
    assert config.model.deter == 8 * config.model.hidden and config.model.classes * 16 == config.model.hidden
    widths = {"deter", "hidden", "classes", "units", "conv_depth"}
    same = {name: getattr(base.model, name) for name in widths}
    assert dataclasses.replace(config.model, **same) == base.model
    assert dataclasses.replace(config, model=base.model, actor=base.actor, critic=base.critic) == base


# run.steps, run.envs, run.train_ratio and the size of each block of configs.yaml; `defaults` where a block says nothing.
SUITES = {
    "atari": (5.1e7, 16, 32, 8192), "atari100k": (1.1e5, 1, 256, 8192), "bsuite": (7, 1, 1024, 8192),
    "crafter": (1.1e6, 1, 512, 8192), "dmlab": (2.6e7, 16, 32, 8192), "loconav": (7, 16, 256, 8192),
    "minecraft": (7, 16, 32, 8192), "procgen": (1.1e8, 16, 64, 8192), "proprio": (1.1e6, 16, 1024, 512),
    "vision": (1.1e6, 16, 256, 8192),
}  # fmt: skip


@pytest.mark.parametrize("suite", list(presets.SUITES))
def test_a_suite_is_the_reference_block_and_nothing_else(suite: str) -> None:
    base = build(OTHER, {"total_steps": 7, "replay": {"capacity": 9000}}, presets.dreamerv3())
    config = build(dataclasses.asdict(base), presets.suite(suite))
    steps, envs, ratio, deter = SUITES[suite]
    assert (config.total_steps, config.num_envs, config.train_ratio, config.model.deter) == (steps, envs, ratio, deter)
    sized = build(dataclasses.asdict(base), presets.size("1m" if deter == 512 else "200m"))
    replay = dataclasses.replace(base.replay, capacity=config.replay.capacity)
    amount = dict(total_steps=config.total_steps, num_envs=envs, train_ratio=ratio, replay=replay)
    assert config == dataclasses.replace(sized, **amount)
    assert set(SUITES) == set(presets.SUITES)


@pytest.mark.parametrize(
    ("suite", "capacity"), [("atari100k", 121_000), ("crafter", 1_210_000), ("atari", 5_000_000), ("bsuite", 5_000_000)]
)
def test_a_suites_replay_holds_the_run_or_five_million_steps(suite: str, capacity: int) -> None:
    assert presets.suite(suite)["replay"] == {"capacity": capacity}


def test_wider_by_hand() -> None:
    base = {
        "num_envs": 2,
        "batch_size": 3,
        "horizon": 4,
        "model": {"deter": 5, "hidden": 6, "units": 7, "stoch": 8},
        "actor": {"units": 9, "layers": 1},
        "critic": {"units": 10},
        "optimizer": {"world_model_lr": 0.5, "actor_lr": 1.0, "critic_lr": 2.0, "warmup": 11},
    }
    assert presets.wider(base, 2) == {
        "num_envs": 4,
        "batch_size": 6,
        "model": {"deter": 10, "hidden": 12, "units": 14},
        "actor": {"units": 18},
        "critic": {"units": 20},
        "optimizer": {"world_model_lr": 0.25, "actor_lr": 0.5, "critic_lr": 1.0},
    }


def test_dreamerv2_sets_everything_that_dreamerv3_sets() -> None:
    """So that "dreamerv3,dreamerv2" leaves nothing of DreamerV3 but what DreamerV2 does not have."""

    def names(tree: dict[str, Any], path: str = "") -> set[str]:
        return {
            name for key, value in tree.items()
            for name in (names(value, f"{path}{key}.") if isinstance(value, dict) else {path + key})
        }  # fmt: skip

    unused = {
        "model.blocks", "model.bins", "critic.bins", "loss.symlog_limit", "loss.return_norm_rate", "loss.return_norm_limit",
        "actor.min_std", "actor.max_std", "replay.min_size", "loss.return_norm_debias",
    }  # fmt: skip
    assert names(presets.dreamerv3()) - names(presets.dreamerv2()) == unused
    config = build(OTHER, presets.dreamerv2())
    kl = config.loss.dyn + config.loss.rep
    assert (kl, config.loss.dyn / kl) == (pytest.approx(0.1), pytest.approx(0.8))


@pytest.mark.parametrize("name", NAMES)
def test_every_file_takes_every_variant(name: str) -> None:
    variants = ["", "smoke", "plan", "dreamerv2", "dreamerv3", *presets.SIZES]
    suites = [f"dreamerv3,{suite}" for suite in presets.SUITES]
    for variant in [
        *variants,
        *suites,
        "dreamerv3,crafter,smoke",
        "dreamerv3,12m",
        "dreamerv3,smoke",
        "dreamerv2,smoke",
    ]:
        argument = f"{name}:{variant}" if variant else name
        config = cli.load_config(argument, {})
        if "dreamerv3" in variant:
            assert config.loss.symlog_limit == 20 and config.replay.keep_latents and config.model.kind == "rssm"
        if variant.endswith("12m"):
            assert config.model.deter == 2048
        if variant.endswith("smoke"):
            assert config.total_steps == 640 and config.batch_size == 4 and config.model.conv_depth == 4


def test_an_unknown_variant_or_size_is_named() -> None:
    with pytest.raises(ConfigError, match=r"variant '7m' is not allowed: must be one of .*'12m'"):
        presets.variants({}, "dreamerv3,7m")
    with pytest.raises(ConfigError, match="size='7m' is not allowed"):
        presets.size("7m")
