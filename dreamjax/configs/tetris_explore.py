"""Tetris with eight buttons: exploration without reward, then the task, in one run and from one replay.

    dreamjax train --config=tetris_explore
    dreamjax train --config=tetris_explore:plain --workdir=runs/plain    # the same without exploration
    python -m experiments.coverage --runs=runs/tetris_explore,runs/plain --steps=30000,60000

Game, sizes and rates are those of tetris_direct. For the first 30,000 steps the explorer plans for the disagreement of an
ensemble (Plan2Explore, Sekar et al. 2020), with its own actor and critic; the world model, the ensemble and the task's
actor and critic learn from what it collects. After that, plans are for the task.

Seed 0, 60,000 steps, 41 min on one busy core (22 min without exploration), against random buttons: 0.47 times the distinct
boards, 3.97 times the coarse ones (:plain: 0.61 and 4.78). Eight plans then clear 4.3 +- 0.4 lines a game (:plain:
2.6 +- 0.3; 32 games, one seed).

Variants: :plain does not explore; :locked places pieces on cells, as in tetris_locked; :smoke runs every phase in seconds;
further ones are those of ``presets.variants``.
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
    algorithm = {"plan", "dreamerv2", "dreamerv3"} & set(names)  # these do not explore
    more = ["explore_smoke"] if "smoke" in names and not algorithm else []
    return presets.variants(
        merge(game.get_config().to_dict(), base),
        ",".join([*names, *more]),
        locked=dict(total_steps=20_000, explore=dict(steps=6_000), eval=dict(every=10_000)),
        plain=plain,
        explore_smoke=dict(explore=dict(steps=320)),
    )
