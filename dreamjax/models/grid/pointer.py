"""Rows of a grid that come from rows above them, as after a row has been cleared."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.models.grid.layers import bounded

MAX_SHIFT = 4  # rows that a row may move down
SCORE = 5.0  # the greatest score of a shift; e^-10 remains of one never seen, which the loss can just tell from nothing
GAIN = 8.0  # a power of two, which changes no digit


class RowPointer(nn.Module):
    """Lets every row come from a row above it, or be blank: ``[N, C, H, W]`` probabilities to the same.

    For each source row and each shift, a small network scores how well that shift suits the row, from learned features of
    the row and their sums over the rows below it and over those down to it. The weights of row ``r`` are the softmax over
    shifts ``d`` of the scores of its sources ``r - d``, blank (all zeros) included; ``hard`` takes the heaviest only.

    Rows rarely move, and the size of Adam's steps does not depend on that of gradients: kernels are stored ``GAIN`` times
    smaller than they act, which makes every step that much larger (Karras et al. 2018, section 4.1).
    """

    units: int = 32
    features: int = 16

    def setup(self) -> None:
        # Begin close to "no row moves".
        bias = lambda *_: jnp.asarray([3.0] + [-1.0] * MAX_SHIFT, jnp.float32)  # noqa: E731
        init = nn.initializers.variance_scaling(1 / GAIN**2, "fan_in", "truncated_normal")
        self.rows = nn.Dense(self.units, kernel_init=init)
        self.feature = nn.Dense(self.features, kernel_init=init)
        self.joint = nn.Dense(self.units, kernel_init=init)
        self.score = nn.Dense(MAX_SHIFT + 1, kernel_init=init, bias_init=bias)
        self.blank = nn.Dense(1, kernel_init=init)

    def row_features(self, cells: jax.Array) -> jax.Array:
        """Learned features of each row, of its cells and of how much of it each channel fills: ``[N, H, features]``."""
        by_row = jnp.swapaxes(cells, 1, 2)
        filled = jnp.concatenate([jnp.min(by_row, -1), jnp.mean(by_row, -1), jnp.max(by_row, -1)], -1)
        seen = 2 * jnp.concatenate([stacked_rows(cells), filled], -1) - 1
        return jax.nn.sigmoid(self.feature(GAIN * jax.nn.silu(self.rows(GAIN * seen))))

    def __call__(self, cells: jax.Array, hard: bool = False) -> jax.Array:
        count, channels, height, width = cells.shape
        rows = stacked_rows(cells)
        feature = self.row_features(cells)
        below = sums_below(feature) - feature
        hidden = jax.nn.silu(self.joint(GAIN * jnp.concatenate([feature, below, sums_above(feature)], -1)))
        score = bounded(self.score(GAIN * hidden), SCORE)
        # score[s, d] is that of source s at row s + d; shifts from above the grid get a score that is never taken.
        shifts = range(MAX_SHIFT + 1)
        total = jnp.stack([_down(score[..., d : d + 1], d, -20.0)[..., 0] for d in shifts], -1)
        weight = jax.nn.softmax(jnp.concatenate([total, bounded(self.blank(GAIN * hidden), SCORE)], -1))
        if hard:
            best = jnp.argmax(weight, -1)
            source = jnp.clip(np.arange(height)[None] - best, 0)
            moved = jnp.take_along_axis(rows, source[..., None], 1)
            moved = jnp.where((best > MAX_SHIFT)[..., None], 0.0, moved)
        else:
            moved = jnp.zeros_like(rows)
            for d in shifts:
                moved += weight[..., d : d + 1] * _down(rows, d, 0.0)
        return jnp.swapaxes(moved.reshape(count, height, channels, width), 1, 2)


def sums_above(rows: jax.Array) -> jax.Array:
    """Sums over each row and all rows above it, ``[N, H, F]``: one product, which compiles faster than a cumulative sum."""
    return jnp.einsum("nsf,sr->nrf", rows, np.triu(np.ones((rows.shape[1],) * 2, np.float32)))


def sums_below(rows: jax.Array) -> jax.Array:
    """Sums over each row and all rows below it, ``[N, H, F]``."""
    return jnp.einsum("nsf,sr->nrf", rows, np.tril(np.ones((rows.shape[1],) * 2, np.float32)))


def _down(rows: jax.Array, d: int, fill: float) -> jax.Array:
    """``rows [N, H, F]``, each ``d`` rows lower; ``fill`` comes in at the top."""
    return jnp.pad(rows, ((0, 0), (d, 0), (0, 0)), constant_values=fill)[:, : rows.shape[1]]


def stacked_rows(cells: jax.Array) -> jax.Array:
    """Each row of ``cells [N, C, H, W]`` as one vector of all its channels: ``[N, H, C * W]``."""
    return jnp.swapaxes(cells, 1, 2).reshape(cells.shape[0], cells.shape[2], -1)
