"""Tetris with eight buttons, any of which are pressed together.

    dreamjax train --config=tetris_direct

Seed 0, 60,000 steps, two CPU cores, 16 min: the world model predicts 95 % of the next boards exactly ("nothing changes":
none); eight piecewise-constant plans before every step clear 3.8 +- 0.4 lines a game. Another run of this seed predicts
all of them and clears 2.6 +- 0.3.

Lines a game after 150,000 steps (--config.total_steps=150000; 45 to 52 min on one core a seed), 100 greedy games,
seeds 0, 1, 2:

    32 plans (--agent=planner --candidates=32)    5.1 +- 0.3, 5.8 +- 0.3, 6.8 +- 0.3
    the actor only                                0.06, 0.12, 0.04
    PPO                                           0.24 after 300,000 steps, 1.21 after 1,000,000

Variants: :smoke runs every phase in seconds; :plan sets the plan's sizes and schedule; :vector uses the vector RSSM
instead of the grid model; :gpu is four times as wide, with four times the environments and windows (no GPU has run it
yet); :dreamerv3 sets DreamerV3 as published, in size 1m or in the size that follows (:dreamerv3,12m).
"""

from ml_collections import ConfigDict

from dreamjax.config import presets


def get_config(variant: str = "") -> ConfigDict:
    """The configuration; ``variant`` is "", "vector", "gpu" or names of ``presets.variants``."""
    base = dict(
        total_steps=60_000,
        num_envs=32,
        batch_size=8,
        batch_length=16,
        horizon=16,
        train_ratio=4.0,
        env=dict(id="dreamjax/Tetris-v0", action_mode="direct", kwargs=dict(reward="lines", piece_reward=0.1)),
        model=dict(kind="grid", deter=32, hidden=64, stoch=4, classes=8, units=256, layers=2, unimix=0.0),
        # At even odds the actor would hard-drop every second step; rare drops leave time to steer. Holds are left to
        # the uniform share of the policy, which no gradient reaches: the model of an object's motion cannot exchange
        # objects, and actors exploit what it predicts instead.
        actor=dict(
            layers=2, units=128, entropy=3e-4, unimix=2e-3, binary_bias=(0.0, 0.0, 0.0, 0.0, 0.0, -2.0, -1e6, 0.0)
        ),
        critic=dict(layers=2, units=96),
        # A piece takes some eight steps to steer: with a discount of 0.99 dropping it at once pays more than surviving.
        loss=dict(gamma=0.997, symlog_limit=8.0, free_nats=0.0),
        # An actor that learns before its critic drops every piece at once, which pays most within the horizon.
        optimizer=dict(world_model_lr=2e-3, actor_lr=5e-4, critic_lr=1e-3, warmup=100, actor_delay=400),
        # Cleared lines are rare at first: half of the windows are drawn by their loss. Actor and critic learn from the
        # other half, which is distributed as in play.
        replay=dict(
            capacity=300_000, min_size=2_000, sampler="prioritized", priority_exponent=2.0, uniform_fraction=0.5
        ),
        # The horizon suffices to reach a wall and drop. Plans exploit the model's errors, so they collect: the model
        # then sees what really follows.
        planner=dict(method="piecewise", candidates=8, horizon=7, collect=True, evaluate=True),
        eval=dict(every=30_000, episodes=32, num_envs=32),
        checkpoint=dict(every=15_000),
    )
    vector = dict(
        batch_length=32,
        model=dict(kind="rssm", deter=256, hidden=128, stoch=32, classes=16, unimix=0.01),
    )
    return presets.variants(base, variant, vector=vector, gpu=presets.wider(base, 4))
