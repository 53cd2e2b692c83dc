"""The configuration `cartpole`: see `dreamjax/configs/cartpole.py`."""

from dreamjax.configs.cartpole import get_config

__all__ = ["get_config"]
