"""The old place of ``dreamjax.config.presets``, for configuration files written before it moved."""

import warnings

from dreamjax.config.presets import SIZES, dreamerv2, dreamerv3, plan, size, smoke, variants, wider

__all__ = ["SIZES", "dreamerv2", "dreamerv3", "plan", "size", "smoke", "variants", "wider"]

warnings.warn(
    "dreamjax.presets has moved: import it by `from dreamjax.config import presets`", FutureWarning, stacklevel=2
)
