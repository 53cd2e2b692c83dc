"""Arrays on one device or several."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from dreamjax.config import ConfigError
from dreamjax.training.runtime import devices


def test_local_gives_arrays_of_one_device() -> None:
    tree = devices.local(devices.replicate({"w": jnp.zeros(3), "key": jax.random.key(0)}, 4))
    assert tree["w"].devices() == {jax.local_devices()[0]}
    assert len(tree["key"].devices()) == 1


def test_a_batch_must_split() -> None:
    devices.check_divisible("batch_size", 8, 4)
    with pytest.raises(ConfigError, match=r"batch_size=6 .*= 4"):
        devices.check_divisible("batch_size", 6, 4)
