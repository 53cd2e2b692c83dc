"""How an object on a grid moves: it turns, goes sideways and down as one, and may become part of the rest.

Positions are soft: a mask ``[N, H, W]`` holds the probability that each cell is the object's. Masks lie on a canvas wider
than the grid by ``MARGIN`` on each side, so that leaving the grid can be detected.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.models.grid.layers import LocalEdit, bounded
from dreamjax.models.grid.layout import GridLayout, place, window
from dreamjax.models.nets import MLP, Dense, Dtype, logit

MARGIN = 3
ROWS, COLUMNS = (3, 5), (3, 5)  # how far from its corner, up and down, left and right, its shape is read
SPAN = 5  # rows and columns of what can turn; what lies beyond, from its corner on, stays
SHIFT = 1  # rows and columns by which a turn may miss the middle
CAP = 5.0  # the greatest logit: a motion that is wrong for most objects can still be learned for others
NONE = 3.0  # how much less likely every turn begins than its logit says
SIDEWAYS = 2  # columns that it may go in one step
EPS = 1e-5  # the least probability of a cell
DEFAULT_RADIUS = 4  # of local edits on a grid without an object


def overlaps(mask: jax.Array, blocked: jax.Array) -> jax.Array:
    """How much of a mask would lie on blocked cells if it were ``d`` rows lower.

    Args:
        mask: ``[N, H, W]``. blocked: ``[N, H + D, W]``, how much each cell blocks.

    Returns:
        float32 ``[N, D + 1]``: entry ``d`` is the sum over cells of ``mask[r, c] * blocked[r + d, c]``.
    """
    count, height, _ = mask.shape
    pairs = jnp.einsum("nrc,nsc->nrs", mask, blocked)
    rows = pairs.shape[2]
    # Read with one more column, each next row lies one further to the left: a column holds one distance.
    skewed = jnp.pad(pairs.reshape(count, -1), ((0, 0), (0, height))).reshape(count, height, rows + 1)
    return jnp.sum(skewed[:, :, : rows - height + 1], 1)


def lowered(mask: jax.Array, share: jax.Array) -> jax.Array:
    """The mean of a mask ``[N, H, W]`` over distances: with weight ``share[:, d]`` of ``[N, D]`` it lies ``d`` lower."""
    distance = np.arange(mask.shape[1])[:, None] - np.arange(mask.shape[1])[None]
    reached = (distance >= 0) & (distance < share.shape[1])
    weight = jnp.where(reached, share[:, np.clip(distance, 0, share.shape[1] - 1)], 0.0)
    return jnp.einsum("nrs,nsc->nrc", weight, mask)


def shifted(mask: jax.Array, by: int) -> jax.Array:
    """A mask ``[N, H, W]`` moved ``by`` columns to the right; cells that leave it are lost."""
    wide = jnp.pad(mask, ((0, 0), (0, 0), (max(by, 0), max(-by, 0))))
    return wide[:, :, max(-by, 0) :][:, :, : mask.shape[2]]


def quarter_turns(patch: jax.Array) -> jax.Array:
    """An object, in the upper left corner of a patch, turned about its middle by 0 to 3 quarter turns to the left.

    Args:
        patch: ``[N, P, P]``, ``P`` odd; cells above 0.5 are the object's.

    Returns:
        ``[N, 4, 2P - 1, 2P - 1]``: the patch lies in the middle. Where the middle falls between cells it is rounded up
        and left.
    """
    span, around = patch.shape[1], patch.shape[1] // 2
    whole = (span + 2 * around,) * 2
    result = [jnp.pad(patch, ((0, 0), (around, around), (around, around)))]
    for times in (1, 2, 3):
        turned = jnp.rot90(patch, times, (1, 2))
        rows, columns = (jnp.any(turned > 0.5, axis) for axis in (2, 1))
        reach = (0, span - 1)
        cornered = window(turned[:, None], jnp.argmax(rows, 1), jnp.argmax(columns, 1), reach, reach)[:, :1]
        grown = jnp.sum(rows, 1) - jnp.sum(columns, 1) if times % 2 else jnp.zeros(patch.shape[:1], jnp.int32)
        result.append(place(cornered, around + -grown // 2, around + grown // 2, whole, 0, 0)[:, 0])
    return jnp.stack(result, 1)


def turned(mask: jax.Array, row: jax.Array, column: jax.Array, choice: jax.Array) -> jax.Array:
    """The mean over turns of a mask, on the canvas.

    Args:
        mask: ``[N, H, W]``. row, column: int32 ``[N]``, the object's corner.
        choice: ``[N, 4, 2 SHIFT + 1, 2 SHIFT + 1]``, the weight of each turn, by how far down and right it misses the
            middle.

    Returns:
        float32 ``[N, H + 2 MARGIN, W + 2 MARGIN]``.
    """
    height, width = mask.shape[1:]
    patch = window(mask[:, None], row, column, (0, SPAN - 1), (0, SPAN - 1))[:, 0]
    wide = jnp.pad(quarter_turns(patch), ((0, 0), (0, 0), (2 * SHIFT, 2 * SHIFT), (2 * SHIFT, 2 * SHIFT)))
    size, shifts = wide.shape[2] - 2 * SHIFT, range(2 * SHIFT, -1, -1)
    missing = [[wide[:, :, i : i + size, j : j + size] for j in shifts] for i in shifts]
    new = jnp.einsum("nkab,abnkij->nij", choice, jnp.asarray(missing))
    around = (size - SPAN) // 2
    change = new - jnp.pad(patch, ((0, 0), (around, around), (around, around)))
    whole = (height + 2 * MARGIN, width + 2 * MARGIN)
    canvas = jnp.pad(mask, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    changed = canvas + place(change[:, None], row + MARGIN, column + MARGIN, whole, around, around)[:, 0]
    return jnp.clip(changed, 0.0, 1.0)  # cells that turn may land on cells that are too far away to turn


def stops(wanted: jax.Array, stopped: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Where something stops that may stop before each of ``D`` steps, because it wants to or because it must.

    Args:
        wanted, stopped: hazards >= 0, float32 ``[N, D]``: it goes on with probability ``exp(-hazard)``.

    Returns:
        The probabilities ``[N, D]`` of stopping before each step because it wants to, and because it must. The rest, up
        to 1, goes on beyond.
    """
    before = np.triu(np.ones((wanted.shape[1],) * 2, np.float32), 1)
    alive = jnp.exp(-(wanted + stopped) @ before)
    return alive * -jnp.expm1(-wanted), alive * jnp.exp(-wanted) * -jnp.expm1(-stopped)


class ObjectMotion(nn.Module):
    """The grid after an object, the last channel, has moved.

    The object turns about its middle; it moves some columns sideways; and it moves down, row by row, until it wants to stop
    or is stopped. Each motion may be blocked: the more of the object would lie on blocked cells, the less likely, by a
    learned strength. The reason it stopped decides whether it joins the other channels. All of it is learned: which motion
    happens, which cells block, how far the object moves and when it joins.

    A new object may appear only where the old one has joined. Otherwise the absolute edit would learn, place by place, what
    the motion should learn for all places; and a model that could remove objects learned that before it learned what
    replaces them, so that actors got rid of every piece in imagination.
    """

    layout: GridLayout
    units: int
    act: str
    dtype: Dtype

    @nn.compact
    def __call__(
        self, cells: jax.Array, still: jax.Array, row: jax.Array, column: jax.Array, cond: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """From cells and the logits of unchanged cells ``[N, C, H, W]``, the object's corner, and the condition ``cond``.

        Returns:
            As ``make_edit``; only the object's channel has room.
        """
        layout = self.layout
        count, height, width = cells.shape[0], layout.height, layout.width
        canvas = lambda x: jnp.pad(x, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))  # noqa: E731
        dense = lambda n, name, x: Dense(n, dtype=self.dtype, name=name)(x).astype(jnp.float32)  # noqa: E731
        ones = nn.initializers.ones_init()

        around = window(cells[:, -1:], row, column, ROWS, COLUMNS)[:, :1].reshape(count, -1).astype(self.dtype)
        hidden = MLP(2, self.units, act=self.act, dtype=self.dtype)(jnp.concatenate([around, cond], -1))
        strength = jax.nn.softplus(dense(3, "strength", hidden) + 1.0)
        blocking, outside = self.param("blocking", ones, (layout.channels - 1,)), self.param("outside", ones, ())
        wall = np.pad(np.zeros((height, width), np.float32), MARGIN, constant_values=1)
        wall[:MARGIN] = 0  # an object may begin above the grid
        blocked = canvas(jnp.einsum("nchw,c->nhw", cells[:, :-1], blocking)) + outside * wall[None]
        # Overlaps below half a cell come from the softness of masks.
        felt = lambda overlap: jax.nn.relu(2 * overlap - 1)  # noqa: E731
        in_the_way = lambda mask: felt(jnp.sum(mask * blocked, (1, 2)))  # noqa: E731

        before = canvas(cells[:, -1])
        mask = turned(cells[:, -1], row, column, self._turn(dense(1 + 3 * (2 * SHIFT + 1) ** 2, "turns", hidden)))
        takes = jnp.exp(-strength[:, 0] * in_the_way(mask))
        mask = before + takes[:, None, None] * (mask - before)

        moved = [shifted(mask, by) for by in range(-SIDEWAYS, SIDEWAYS + 1)]
        goes = jax.nn.softmax(bounded(dense(len(moved), "sideways", hidden), CAP))
        goes *= jnp.exp(-strength[:, 1:2] * jnp.stack([in_the_way(x) for x in moved], 1))
        goes = goes.at[:, SIDEWAYS].add(1 - jnp.sum(goes, 1))
        mask = jnp.einsum("nk,knhw->nhw", goes, jnp.stack(moved))

        floor = jnp.broadcast_to(outside, (count, height, blocked.shape[2]))
        below = overlaps(mask, jnp.concatenate([blocked, floor], 1))[:, 1:]
        wanted = jax.nn.softplus(dense(height, "wanted", hidden) - 1.0)
        wants, must = stops(wanted, strength[:, 2:] * felt(below))
        landed = lowered(mask, wants + must)[:, MARGIN:-MARGIN, MARGIN:-MARGIN]

        stopped = jnp.sum(must, 1, keepdims=True)
        facts = jnp.concatenate([stopped, wants + must, goes, takes[:, None]], -1).astype(self.dtype)
        features = jnp.concatenate([hidden, facts], -1)
        joins = jax.nn.sigmoid(6 * stopped - 3 + dense(1, "joins", features))
        into = jax.nn.sigmoid(self.param("into", ones, (layout.channels - 1,)))
        joined = (joins[..., None] * landed)[:, None] * into[None, :, None, None]
        rest = 1 - (1 - jax.nn.sigmoid(still[:, :-1])) * (1 - joined)
        probs = EPS + (1 - 2 * EPS) * jnp.concatenate([rest, ((1 - joins)[..., None] * landed)[:, None]], 1)
        room = jnp.zeros((count, layout.channels)).at[:, -1].set(joins[:, 0])
        return logit(probs), features, room

    def _turn(self, scores: jax.Array) -> jax.Array:
        """Weights ``[N, 4, A, A]`` of no turn, which has no offset, and of three turns at every offset.

        At initialization nothing turns: otherwise turns, which may be off by a column, learn steps to the side.
        """
        side = 2 * SHIFT + 1
        weight = jax.nn.softmax(bounded((scores - NONE).at[:, 0].add(NONE + CAP), CAP))
        turns = jnp.zeros((scores.shape[0], 4, side, side)).at[:, 0, SHIFT, SHIFT].set(weight[:, 0])
        return turns.at[:, 1:].set(weight[:, 1:].reshape(-1, 3, side, side))


def make_edit(layout: GridLayout, units: int, act: str, radius: int, dtype: Dtype) -> nn.Module:
    """What an action does to the grid: a local edit, or with ``radius`` 0 the motion of an object where there is one.

    Every edit maps ``(cells, still, row, column, cond)`` to logits ``[N, C, H, W]``, features ``[N, F]`` and the room
    ``[N, C]`` in [0, 1] that it leaves in each channel for what appears at fixed places.
    """
    if layout.focus == "object" and not radius:
        return ObjectMotion(layout, units, act, dtype)
    return LocalEdit(layout, units, act, radius or DEFAULT_RADIUS, dtype)
