"""The configuration `tetris_locked`: see `dreamjax/configs/tetris_locked.py`."""

from dreamjax.configs.tetris_locked import get_config

__all__ = ["get_config"]
