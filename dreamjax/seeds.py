"""Seeds of environments: episodes that are measured are never those that were learned from.

Environment ``i`` of several is seeded by ``seed + i``. Training's seeds lie below ``TRAINING``, and with that below
``EVALUATION``, from which on are the seeds of evaluation.
"""

from __future__ import annotations

import numpy as np

TRAINING = 9_000_000
EVALUATION = 10_000_019


def evaluation_seed(seed: int) -> int:
    """``seed`` where it is one of evaluation's, else ``seed + EVALUATION``."""
    return seed if seed >= EVALUATION else seed + EVALUATION


def derived_seed(seed: int, *more: int) -> int:
    """A seed drawn from these numbers, of training where ``seed`` is, else of evaluation."""
    drawn = int(np.random.SeedSequence([seed, *more]).generate_state(1)[0])
    return drawn % TRAINING if seed < EVALUATION else EVALUATION + drawn % 2**30
