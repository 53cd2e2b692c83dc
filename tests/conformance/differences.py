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
