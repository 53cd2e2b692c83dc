"""The configuration `tetris_explore`: see `dreamjax/configs/tetris_explore.py`."""

from dreamjax.configs.tetris_explore import get_config

__all__ = ["get_config"]
