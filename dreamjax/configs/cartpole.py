"""CartPole-v1, a check that learning works from end to end.

    dreamjax train --config=cartpole

One core, 5 to 8 minutes. Return of 20 greedy episodes (the limit is 500), mean +- standard error:

                    seed 0           seed 1          seed 2
    20,000 steps    455.2 +- 14.7    500.0 +- 0.0    404.9 +- 13.9
    30,000 steps    420.9 +- 15.4    500.0 +- 0.0    242.1 +- 4.9

A policy that has learned to balance may drift away later. The run therefore stops at 20,000 steps and keeps the best
checkpoint by evaluation.

Variants: :smoke runs every phase in seconds; :plan sets the plan's sizes and schedule; :dreamerv3 sets DreamerV3 as
published, in size 1m or in the size that follows (:dreamerv3,12m).
"""

from ml_collections import ConfigDict

from dreamjax.config import presets


def get_config(variant: str = "") -> ConfigDict:
    """The configuration; ``variant`` is "" or names of ``presets.variants``."""
    base = dict(
        total_steps=20_000,
        num_envs=4,
        batch_size=16,
        batch_length=32,
        train_ratio=32.0,
        env=dict(id="CartPole-v1"),
        model=dict(deter=128, blocks=8, hidden=64, stoch=16, classes=8, units=64, layers=2),
        actor=dict(layers=2, units=64),
        critic=dict(layers=2, units=64),
        loss=dict(gamma=0.99, symlog_limit=8.0),
        optimizer=dict(world_model_lr=6e-4, actor_lr=2e-4, critic_lr=2e-4, warmup=100),
        replay=dict(capacity=30_000, min_size=1_000),
        eval=dict(every=10_000, episodes=20, num_envs=20),
        checkpoint=dict(every=10_000),
    )
    return presets.variants(base, variant)
