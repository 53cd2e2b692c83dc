"""Means over updates, fetched late."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.training.metrics import MetricMeans, TrainError


def test_means_are_over_the_updates_since_the_last_clear() -> None:
    means = MetricMeans()
    for update, value in enumerate((1.0, 2.0, 6.0)):
        means.add(update, {"loss": jnp.asarray(value), "other": jnp.asarray(1.0)})
    assert means.means() == {"loss": 3.0, "other": 1.0}
    assert means.means() == {"loss": 3.0, "other": 1.0}
    means.clear()
    assert means.means() == {}


def test_phases_with_different_metrics_are_averaged_apart() -> None:
    means = MetricMeans()
    means.add(1, {"model": np.float32(2)})
    means.add(2, {"model": np.float32(4)})
    means.add(3, {"actor": np.float32(5)})
    assert means.means() == {"model": 3.0, "actor": 5.0}


def test_saving_in_between_changes_no_bit() -> None:
    values = np.random.default_rng(0).normal(size=20).astype(np.float32) * 1e3
    whole, parts = MetricMeans(), MetricMeans()
    for i, value in enumerate(values):
        whole.add(i, {"x": value})
        parts.add(i, {"x": value})
        if i % 3 == 0:
            fresh = MetricMeans()
            fresh.load_state_dict(parts.state_dict())
            parts = fresh
    assert parts.means() == whole.means()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_bad_loss_is_named_with_its_update(bad: float) -> None:
    means = MetricMeans()
    means.add(7, {"train/loss/dyn": np.float32(1), "a": np.float32(1)})
    means.add(8, {"train/loss/dyn": np.float32(bad), "a": np.float32(bad)})
    means.add(9, {"train/loss/rep": np.float32(bad)})
    with pytest.raises(TrainError, match=f"update 8: train/loss/dyn is {bad}"):
        means.means()


def test_a_bad_loss_cannot_be_saved() -> None:
    means = MetricMeans()
    means.add(1, {"loss": np.float32(np.nan)})
    with pytest.raises(TrainError):
        means.state_dict()
