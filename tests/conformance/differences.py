"""What differs from the reference today: the one table of it, by entry.

Whoever mends a difference deletes its rows here: their entries are then compared like all others.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple


class Difference(NamedTuple):
    """A row of the table.

    Attributes:
        numbers: of the differences that cause it, as the README beside this file lists them; the largest cause first.
        vector, continuous: the error observed in each file, of the tensor where it is greatest. None: it agrees there.
    """

    numbers: tuple[int, ...]
    vector: float | None
    continuous: float | None


# Entries as patterns; every entry that a pattern matches differs. See `reference.entries` for their names.
DIFFERENCES = {
    "imag/cont": Difference((3, 4), 1.0, 1.0),
    "imag/weight": Difference((3, 4), 1.0, 1.0),
    "imag/return": Difference((3,), 8e-3, 3e-3),
    "imag/advantage": Difference((5, 4, 3), 0.52, 0.66),
    "replay/return": Difference((3,), 6e-4, 6e-5),
    "percentiles/after": Difference((3,), 4e-4, 2e-4),
    "loss/policy": Difference((5, 4, 3), 0.51, 0.69),
    "loss/value": Difference((4, 3), 0.065, 0.071),
    "loss/repval": Difference((3,), 2e-4, None),
    "loss/total": Difference((5, 4, 3), 5e-3, 0.039),
    "grad/norm/enc/*": Difference((6,), 0.019, 0.021),
    "grad/norm/dyn/dyn*": Difference((6,), 0.029, 0.014),
    "grad/norm/dyn/obs*": Difference((6,), 0.012, 0.018),
    "grad/norm/pol/*": Difference((5, 4, 3), 0.53, 0.68),
    "grad/norm/val/*": Difference((4, 3), 0.054, 0.090),
    "grad/whole/dyn/*": Difference((6,), 0.067, 0.060),
    "grad/whole/pol/*": Difference((5, 4, 3), 0.51, 0.60),
    "grad/whole/val/*": Difference((4, 3), 0.056, 0.12),
    "repval_stopped/grad_norm/pol/*": Difference((5, 4, 3), 0.53, 0.68),
    "repval_stopped/grad_norm/val/*": Difference((4, 3), 0.054, 0.090),
    "warm/loss_policy": Difference((5, 4, 3), 0.037, 0.14),
    "warm/grad_norm/enc/*": Difference((6,), 0.019, 0.021),
    "warm/grad_norm/dyn/dyn*": Difference((6,), 0.029, 0.014),
    "warm/grad_norm/dyn/obs*": Difference((6,), 0.012, 0.018),
    "warm/grad_norm/pol/*": Difference((5, 4, 3), 0.078, 0.30),
    "warm/grad_norm/val/*": Difference((4, 3), 0.054, 0.090),
    "updates/loss/1-2/policy": Difference((5, 4, 3), 0.51, 0.69),
    "updates/loss/1-2/value": Difference((4, 3), 0.065, 0.071),
    "updates/loss/1-2/repval": Difference((3,), 2e-4, None),
    "updates/loss/3-20/*": Difference((2, 3, 4, 5, 6), 0.51, 0.69),
    "updates/percentiles": Difference((2, 3, 4, 5, 6), 0.043, 0.75),
    "updates/slow_norm/5": Difference((2, 3, 4, 5, 6), 4e-5, 1.1e-5),
    "updates/slow_norm/20": Difference((2, 3, 4, 5, 6), 9e-4, 2e-4),
    "updates/param_norm/2/enc": Difference((6,), 2e-5, 6e-5),
    "updates/param_norm/2/dyn": Difference((6, 2), 8e-5, 3e-4),
    "updates/param_norm/2/pol": Difference((5, 4, 3, 2), 5e-4, 2e-4),
    "updates/param_norm/2/val": Difference((4, 3), 1e-4, 3e-5),
    "updates/param_norm/5/dec": Difference((2, 3, 4, 5, 6), 6e-5, None),
    "updates/param_norm/5/rew": Difference((2, 3, 4, 5, 6), 6e-5, None),
    "updates/param_norm/5/enc": Difference((2, 3, 4, 5, 6), 1e-4, 4e-4),
    "updates/param_norm/5/dyn": Difference((2, 3, 4, 5, 6), 5e-4, 2e-3),
    "updates/param_norm/5/pol": Difference((2, 3, 4, 5, 6), 3e-3, 1e-3),
    "updates/param_norm/5/val": Difference((2, 3, 4, 5, 6), 9e-4, 3e-4),
    "updates/param_norm/20/*": Difference((2, 3, 4, 5, 6), 8e-3, 0.084),
    "updates/change_norm/2/enc": Difference((6,), 5e-4, 1.1e-4),
    "updates/change_norm/2/dyn": Difference((6, 2), 5e-4, 8e-4),
    "updates/change_norm/2/val": Difference((4, 3), 2e-3, 2e-3),
    "updates/change_norm/5/*": Difference((2, 3, 4, 5, 6), 0.067, 0.060),
    "updates/change_norm/20/*": Difference((2, 3, 4, 5, 6), 0.11, 0.20),
    "init/vector/*/dyn/dyngru/kernel": Difference((1,), 1.8, 1.8),
    "init/vector/*/dyn/dynhid0/kernel": Difference((1,), 1.8, 1.8),
    "init/vector/*/dyn/obs0/kernel": Difference((2,), 0.42, 0.42),
    "count/image/enc": Difference((8,), 0.41, 0.41),
    "count/image/dec": Difference((8,), 1.17, 1.17),
}

# What we have no function for, and why.
NOT_COMPARED = {
    "*/logit_raw": "is compared after the uniform share, as `post/logp` and `prior/logp`",
    "enc/tokens": "is compared as `embed`, behind the layer that reads it",
    "loss_by_step/rec": "is compared in their weighted sum, `loss_by_step/world_model`",
    "loss_by_step/rew": "likewise",
    "loss_by_step/con": "likewise",
    "loss_by_step/dyn": "likewise",
    "loss_by_step/rep": "likewise",
    "loss_by_step/policy": "our losses on rollouts are means",
    "loss_by_step/value": "likewise",
    "loss_by_step/repval": "likewise",
    "init/image/*": "the networks for images are others (difference 8)",
}


def difference(entry: str, kind: str) -> Difference | None:
    """The row of an entry, or None if the entry agrees in this file."""
    for pattern, row in DIFFERENCES.items():
        if fnmatchcase(entry, pattern):
            return None if getattr(row, kind) is None else row
    return None
