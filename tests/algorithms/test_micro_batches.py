"""Gradient accumulation: what is averaged and what is joined."""

import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.algorithms.micro_batches import accumulate


@pytest.mark.parametrize("count", [1, 2, 3])
def test_accumulate_averages_the_first_result_and_joins_the_second(count):
    """Contract 29."""
    x = jnp.arange(12.0).reshape(6, 2)
    means, rows = accumulate(lambda part: (jnp.mean(part, 0), 10 * part), x, count)
    np.testing.assert_allclose(means, [5, 6])
    np.testing.assert_array_equal(rows, 10 * x)
