"""Tetris by placements: one step places the current piece on one of 200 cells, masked to the legal ones.

    dreamjax train --config=tetris_locked

The reward is the lines plus 0.1 a piece. 100,000 placements, 12,375 updates, 37 min on one core of an Intel Xeon a seed.
Lines a game over 100 greedy games of at most 1,000 pieces, seeds 0, 1, 2:

    the actor only                                13.0 +- 0.6, 15.3 +- 0.7, 13.6 +- 0.7
    planner (--agent=planner --simulations=50)    40.2 +- 1.7, 40.1 +- 1.7, 42.4 +- 1.7
    masked PPO                                    1.1 after as many placements, 6.9 after 1,000,000

Variants: :smoke runs every phase in seconds; :plan sets the plan's sizes and schedule; :dreamerv3 and :1m to :400m set
those of DreamerV3; :vector uses the vector RSSM instead of the grid model; :shaped rewards the shape of the stack too, and
its planner (--agent=planner) looks one step ahead by that reward only; :quick stops after 20,000 placements; :gpu is four
times as wide, with four times the environments and windows (no GPU has run it yet).
"""

from typing import Any

from ml_collections import ConfigDict

from dreamjax.config import presets

REWARDS: dict[str, dict[str, Any]] = {
    "lines": {"reward": "lines", "piece_reward": 0.1},
    "shaped": {
        "reward": "lines",
        "piece_reward": 0.1,
        "death_penalty": 5.0,
        "shaping": "difference",
        "shaping_discount": 0.99,
    },
}
"""Rewards, as keyword arguments of the environment. ``lines``: 1, 3, 5, 8 for one to four lines, and 0.1 for each piece
that locks. ``shaped``: in addition the change in the shape of the stack (heights, holes, bumpiness), and -5 for a loss.
Without that penalty losing at once pays best, because each further piece costs more than 0.1."""


def get_config(variant: str = "") -> ConfigDict:
    """The configuration; ``variant`` is "" or one of those above."""
    base = dict(
        total_steps=100_000,
        num_envs=16,
        batch_size=8,
        batch_length=16,
        horizon=8,
        train_ratio=16.0,
        env=dict(id="dreamjax/Tetris-v0", action_mode="locked_position", kwargs=dict(reward="lines", piece_reward=0.1)),
        # No free nats: the prior does not learn what the posterior may know at no cost.
        loss=dict(gamma=0.99, symlog_limit=8.0, free_nats=0.0),
        model=dict(
            kind="grid", deter=32, hidden=64, stoch=4, classes=8, units=256, layers=2, unimix=0.0, edit_radius=4
        ),
        actor=dict(layers=2, units=128, entropy=1e-3),
        critic=dict(layers=2, units=64),
        imagination=dict(last=8),
        optimizer=dict(world_model_lr=1e-3, actor_lr=1e-3, critic_lr=1e-3, warmup=100),
        replay=dict(capacity=100_000, min_size=1_000),
        eval=dict(every=20_000, episodes=32, num_envs=32),
        checkpoint=dict(every=10_000),
        log=dict(metrics_every=100),
    )
    vector = dict(
        batch_length=32,
        model=dict(kind="rssm", deter=256, hidden=128, stoch=32, classes=16, unimix=0.01),
    )
    # Greedy play by this reward clears 388 lines with the true rules, while the critic knows the values of a weak policy.
    shaped = dict(env=dict(kwargs=REWARDS["shaped"]), planner=dict(method="one_step", actions=64, bootstrap=0.0))
    quick = dict(total_steps=20_000, eval=dict(every=10_000))
    gpu = presets.wider(base, 4)
    return presets.variants(base, variant, vector=vector, shaped=shaped, quick=quick, gpu=gpu)
