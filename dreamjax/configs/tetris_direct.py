"""Tetris with eight buttons pressed together.

    dreamjax train --config=tetris_direct

Seed 0, 60,000 steps, two CPU cores, 16 min: the prior gets 95 % of the next boards exactly right ("nothing changes":
none), eight held plans before every step clear 3.8 +- 0.4 lines a game (another run of this seed: all of them, 2.6 +- 0.3).
After 150,000 steps, 100 games each, seeds 0, 1, 2: 32 plans (--agent=planner --candidates=32) 5.1 +- 0.3, 5.8 +- 0.3,
6.8 +- 0.3; the actor alone 0.06, 0.12, 0.04. PPO: 0.24 after 300,000, 1.21 after 1,000,000.

:smoke runs every phase in seconds; :plan takes the plan's sizes and schedule; :vector is the vector RSSM in place of the
grid model; :gpu is four times as wide, with four times the environments and windows (no GPU has run it yet);
:dreamerv3 is DreamerV3 as published, in the size that follows (:dreamerv3,12m) or 1m.
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
        # Fair coins would hard-drop every second step; rare drops keep pieces alive long enough to steer. Holds are
        # left to the uniform share, where no gradient reaches them: the model of an object's motion cannot exchange
        # objects, and what it makes of that, actors exploit.
        actor=dict(
            layers=2, units=128, entropy=3e-4, unimix=2e-3, binary_bias=(0.0, 0.0, 0.0, 0.0, 0.0, -2.0, -1e6, 0.0)
        ),
        critic=dict(layers=2, units=96),
        # A piece takes some eight steps to steer: with a discount of 0.99 dropping it at once pays more than surviving.
        loss=dict(gamma=0.997, reach=8.0, free_nats=0.0),
        # An actor that learns before its critic drops every piece at once: that pays most within the horizon.
        optimiser=dict(world_model_lr=2e-3, actor_lr=5e-4, critic_lr=1e-3, warmup=100, actor_delay=400),
        # Lines are rare at first: half of the windows are drawn by what the model has yet to learn of them. Actor and
        # critic learn from the others, which occur as they do in play.
        replay=dict(capacity=300_000, min_size=2_000, sampler="prioritised", priority_exponent=2.0, even=0.5),
        # Steps enough to reach a wall and drop. Plans find what the model has wrong, so they must see what comes of it.
        planner=dict(method="piecewise", candidates=8, horizon=7, collect=True, evaluate=True),
        eval=dict(every=30_000, episodes=32, num_envs=32),
        checkpoint=dict(every=15_000),
    )
    vector = dict(
        batch_length=32,
        model=dict(kind="rssm", deter=256, hidden=128, stoch=32, classes=16, unimix=0.01),
    )
    return presets.variants(base, variant, vector=vector, gpu=presets.wider(base, 4))
