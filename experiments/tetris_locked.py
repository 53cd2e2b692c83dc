"""Tetris by placements: one step puts the current piece at one of 200 cells, masked to the legal ones.

    python -m experiments.train --config=experiments/tetris_locked.py

Seed 0, two CPU cores, 13 min 23 s: 4.72 +- 0.29 lines a game (100 greedy games; untrained masked play: 0.01), from 20,000
placements, reward lines + 0.1 a piece, no search. The prior gets 92 % of the next boards exactly right.

:smoke runs every phase in seconds; :plan takes the plan's sizes and schedule; :vector is the vector RSSM in place of the
grid model; :dreamerv3 is DreamerV3 as published, in the size that follows (:dreamerv3,12m) or 1m.
"""

from ml_collections import ConfigDict

from dreamjax import presets


def get_config(variant: str = "") -> ConfigDict:
    """The configuration; ``variant`` is "", "vector" or names of ``presets.variants``."""
    base = dict(
        total_steps=20_000,
        num_envs=16,
        batch_size=16,
        batch_length=16,
        horizon=8,
        train_ratio=12.0,
        env=dict(id="dreamjax/Tetris-v0", action_mode="locked_position", kwargs=dict(reward="lines", piece_reward=0.1)),
        model=dict(kind="grid", deter=64, hidden=64, stoch=8, classes=8, units=256, layers=2, unimix=0.0, reach=4),
        actor=dict(layers=2, units=64),
        critic=dict(layers=2, units=64),
        loss=dict(gamma=0.99, reach=8.0),
        imagination=dict(last=4),
        optimiser=dict(world_model_lr=1e-3, actor_lr=2e-4, critic_lr=3e-4, warmup=100),
        replay=dict(capacity=100_000, min_size=1_000),
        eval=dict(every=10_000, episodes=32, num_envs=32),
        checkpoint=dict(every=5_000),
    )
    vector = dict(
        batch_length=32,
        model=dict(kind="rssm", deter=256, hidden=128, stoch=32, classes=16, unimix=0.01),
    )
    return presets.variants(base, variant, vector=vector)
