"""An update that is not finite leaves no trace but its step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.training.finite import SKIPPED, skip_nonfinite
from dreamjax.types import NormalizerState, TrainState


def make_state() -> TrainState:
    return TrainState(
        step=jnp.asarray(4, jnp.int32),
        key=jax.random.key(1),
        params={"world_model": {"w": jnp.ones(3)}},
        slow_critic={"v": jnp.zeros(2)},
        opt_state={"world_model": (jnp.zeros(3), jnp.zeros((), jnp.int32))},
        retnorm=NormalizerState(jnp.zeros(()), jnp.ones(()), jnp.zeros((), jnp.int32)),
    )


def update(state: TrainState, batch: Any, *, axis_name: str | None = None) -> Any:
    """Adds ``batch[0]`` to every parameter and moment; the loss is ``batch[1]``."""
    change = lambda tree: jax.tree.map(lambda x: x + batch[0].astype(x.dtype), tree)
    new = state.replace(
        step=state.step + 1,
        params=change(state.params),
        slow_critic=change(state.slow_critic),
        opt_state=change(state.opt_state),
        retnorm=change(state.retnorm),
    )
    return new, {"train/loss/x": batch[1], "other": jnp.zeros(())}, None


@pytest.mark.parametrize(("add", "loss"), [(1.0, 2.0), (1.0, np.nan), (1.0, np.inf), (np.nan, 2.0), (-np.inf, 0.0)])
def test_all_or_nothing(add: float, loss: float) -> None:
    state, batch = make_state(), jnp.array([add, loss])
    new, metrics, _ = jax.jit(skip_nonfinite(update))(state, batch)
    good = np.isfinite(add) and np.isfinite(loss)
    assert int(new.step) == 5
    assert float(metrics[SKIPPED]) == (0.0 if good else 1.0)
    np.testing.assert_array_equal(metrics["train/loss/x"], np.float32(loss))
    expected = update(state, batch)[0] if good else state.replace(step=state.step + 1)
    for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(expected), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b, strict=True)
