"""Tetris by buttons: exploration without reward first, then the task, in one run and from one replay.

    dreamjax train --config=tetris_explore
    dreamjax train --config=tetris_explore:plain     # the same without exploration
    python -m experiments.coverage --runs=runs/tetris_explore,runs/tetris_plain

Game, sizes and rates are those of tetris_direct.py. In the first 30,000 steps the explorer plans for what the ensemble
disagrees on (Plan2Explore, Sekar et al. 2020), with an actor and a critic of its own; the world model, the ensemble and the
task's actor and critic learn from what it finds. From then on plans are for the task. ``experiments.coverage`` counts the
distinct boards in the replay.

:locked puts pieces on cells, as in tetris_locked.py; :smoke runs every phase in seconds; others as in ``presets.variants``.
"""

from ml_collections import ConfigDict

from dreamjax.config import merge, presets
from dreamjax.configs import tetris_direct, tetris_locked


def get_config(variant: str = "") -> ConfigDict:
    """The configuration; ``variant`` is "", one of those above, or names of ``presets.variants``."""
    names = list(filter(None, variant.split(",")))
    game = tetris_locked if "locked" in names else tetris_direct
    base = dict(
        total_steps=60_000,
        ensemble=dict(size=4, units=32, layers=2, lr=1e-3),
        explore=dict(steps=30_000),
        eval=dict(every=30_000),
    )
    plain = dict(explore=dict(steps=0), ensemble=dict(size=0))
    more = ["explore_smoke"] if "smoke" in names else []
    return presets.variants(
        merge(game.get_config().to_dict(), base),
        ",".join([*names, *more]),
        locked=dict(total_steps=20_000, explore=dict(steps=6_000), eval=dict(every=10_000)),
        plain=plain,
        explore_smoke=dict(explore=dict(steps=320)),
    )
