"""The smallest sizes that run every phase. Imports nothing, so that tests/chaos.py can import it before it forks."""

from __future__ import annotations

from typing import Any

SIZES: dict[str, Any] = {
    "model": {
        "deter": 16, "blocks": 2, "stoch": 4, "classes": 4, "hidden": 16, "units": 16, "layers": 1, "bins": 15,
        "conv_depth": 2, "prior_layers": 1,
    },
    "actor": {"layers": 1, "units": 16},
    "critic": {"layers": 1, "units": 16, "bins": 15},
    "imagination": {"capacity": 1024},
}  # fmt: skip
