"""The configuration `tetris_direct`: see `dreamjax/configs/tetris_direct.py`."""

from dreamjax.configs.tetris_direct import get_config

__all__ = ["get_config"]
