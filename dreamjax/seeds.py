"""Seeds of environments; evaluation never uses the episodes of training.

Environment ``i`` is seeded by ``seed + i``. Seeds of training are below ``TRAINING``, and seeds of evaluation are at
least ``EVALUATION``; the gap between them leaves room for the environments of one run.
"""

from __future__ import annotations

import numpy as np

TRAINING = 9_000_000
EVALUATION = 10_000_019


def evaluation_seed(seed: int) -> int:
    """Returns ``seed`` if it is a seed of evaluation, else ``seed + EVALUATION``."""
    return seed if seed >= EVALUATION else seed + EVALUATION


def derived_seed(seed: int, *more: int) -> int:
    """Derives a seed from these numbers: a seed of training if ``seed`` is one, else of evaluation."""
    drawn = int(np.random.SeedSequence([seed, *more]).generate_state(1)[0])
    return drawn % TRAINING if seed < EVALUATION else EVALUATION + drawn % 2**30
