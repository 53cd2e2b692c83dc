"""The smallest sizes that run every phase, and how XLA compiles them quickly.

Imports nothing that starts threads, so that tests/chaos.py can import it before it forks.
"""

from __future__ import annotations

from importlib.metadata import version
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

# XLA options that compile a large program in a quarter of the time; it then runs slower, which tests do not notice.
QUICK: dict[str, int | bool] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}
if tuple(int(part) for part in version("jaxlib").split(".")[:2]) < (0, 11):
    QUICK["xla_cpu_use_fusion_emitters"] = False  # later versions refuse the name
QUICK_FLAGS = " ".join(f"--{name}={str(value).lower()}" for name, value in QUICK.items())  # the same for XLA_FLAGS
