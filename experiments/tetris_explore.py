"""Tetris by buttons: exploration without reward first, then the task, in one run and from one replay.

    python -m experiments.train --config=experiments/tetris_explore.py
    python -m experiments.train --config=experiments/tetris_explore.py:plain     # the same without exploration
    python -m experiments.coverage --runs=runs/tetris_explore,runs/tetris_plain

In the first 12,000 steps the explorer acts, which is paid for what the ensemble disagrees on (Plan2Explore, Sekar et al.
2020); the world model, the ensemble and the task's actor and critic learn from what it finds. From then on the task's actor
acts. Distinct boards are counted all the while (``coverage/boards`` and, coarsely, ``coverage/coarse``).

:locked puts pieces on cells; :smoke runs every phase in seconds; others as in tetris_direct.py.
"""

from ml_collections import ConfigDict

from dreamjax import presets


def get_config(variant: str = "") -> ConfigDict:
    """The configuration; ``variant`` is "", one of those above, or names of ``presets.variants``."""
    base = dict(
        total_steps=24_000,
        num_envs=16,
        batch_size=8,
        batch_length=16,
        horizon=8,
        train_ratio=8.0,
        env=dict(id="dreamjax/Tetris-v0", action_mode="direct", kwargs=dict(reward="lines", piece_reward=0.1)),
        model=dict(kind="grid", deter=64, hidden=64, stoch=8, classes=8, units=256, layers=2, unimix=0.0),
        actor=dict(layers=2, units=64, binary_bias=(0.0, 0.0, 0.0, 0.0, 0.0, -2.0, -3.0, 0.0)),
        critic=dict(layers=2, units=64),
        loss=dict(gamma=0.99, reach=8.0),
        imagination=dict(last=4),
        optimiser=dict(world_model_lr=1e-3, actor_lr=1e-3, critic_lr=1e-3, warmup=100),
        ensemble=dict(size=4, units=32, layers=2, lr=1e-3),
        explore=dict(steps=12_000),
        replay=dict(capacity=100_000, min_size=1_000),
        eval=dict(every=12_000, episodes=32, num_envs=32),
        checkpoint=dict(every=6_000),
        log=dict(coverage=1_000_000),
    )
    locked = dict(
        total_steps=20_000,
        train_ratio=16.0,
        env=dict(action_mode="locked_position"),
        loss=dict(free_nats=0.0),
        model=dict(deter=32, stoch=4, reach=4),
        actor=dict(units=128, entropy=1e-3, binary_bias=()),
        imagination=dict(last=8),
        explore=dict(steps=6_000),
        eval=dict(every=10_000),
        log=dict(metrics_every=100),
    )
    plain = dict(explore=dict(steps=0), ensemble=dict(size=0))
    smoke = dict(explore=dict(steps=320))
    layers = [*filter(None, variant.split(",")), *(["explore_smoke"] if "smoke" in variant.split(",") else [])]
    return presets.variants(base, ",".join(layers), locked=locked, plain=plain, explore_smoke=smoke)
