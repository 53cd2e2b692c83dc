"""Tetris by placements: one step puts the current piece at one of 200 cells, masked to the legal ones.

    python -m experiments.train --config=experiments/tetris_locked.py

:smoke runs every phase in seconds; :plan takes the plan's sizes and schedule.
"""

from ml_collections import ConfigDict

from dreamjax import config


def get_config(variant: str = "") -> ConfigDict:
    """The configuration; ``variant`` is "", "smoke" or "plan"."""
    base = dict(
        total_steps=100_000,
        num_envs=16,
        batch_size=16,
        batch_length=32,
        train_ratio=16.0,
        env=dict(id="dreamjax/Tetris-v0", action_mode="locked_position", kwargs=dict(reward="lines", piece_reward=0.1)),
        model=dict(deter=256, blocks=8, hidden=128, stoch=32, classes=16, units=256, layers=2),
        actor=dict(layers=2, units=128),
        critic=dict(layers=2, units=128),
        loss=dict(gamma=0.99),
        optimiser=dict(world_model_lr=6e-4, actor_lr=2e-4, critic_lr=2e-4, warmup=100),
        replay=dict(capacity=100_000, min_size=1_000),
        eval=dict(every=50_000, episodes=32, num_envs=32),
        checkpoint=dict(every=25_000),
    )
    return config.variants(base, variant)
