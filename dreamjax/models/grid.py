"""A world model whose state lies on the grid: local, shared over places, centred on where the action acts.

The observed cells are part of the latent state, beside a small RSSM (memory and categorical latents) for what cells do
not show and for what chance decides. The next grid is predicted from this one in three learned steps: a *local edit*
around the action's place (or, with ``reach = 0``, along the whole band of columns around it, with learned hazards that
tell how far something moves); an *absolute edit* for what appears at fixed places; and a *row pointer*, by which every
row may come from a row above it. Nothing of any game's rules is written into them.

Why: a plain vector model does not learn a board of 200 cells from 100,000 steps; locality and sharing do.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.config import Config, ConfigError
from dreamjax.models.encoders import preprocess
from dreamjax.models.latents import entropy, gaussian_logit, kl, sample, unimix_logit
from dreamjax.models.nets import MLP, Dense, Dtype, NormAct, symlog
from dreamjax.models.rssm import DenseGRU, reset_where
from dreamjax.types import MASK_KEY, ActionSpec, EnvSpec, Params, RSSMState, WorldModel

SURE = 8.0  # the logit of a cell that is known
MAX_SHIFT = 4  # rows a row pointer may reach up


class GridLayout(NamedTuple):
    """How a grid environment's observation and the flat ``deter`` of its state are laid out.

    Attributes:
        name: the grid's observation name. channels, height, width: after one-hot of its classes.
        classes: values of one cell (2: one channel each). entries: names of the other, flattened entries, in order.
        sizes: their lengths. vector: their sum. memory: length of the recurrent part.
        focus: "action" (a categorical with one class for each cell), "object" (the last channel's cells) or "centre".
    """

    name: str
    channels: int
    height: int
    width: int
    classes: int
    entries: tuple[str, ...]
    sizes: tuple[int, ...]
    vector: int
    memory: int
    focus: str

    @property
    def cells(self) -> int:
        return self.channels * self.height * self.width

    @property
    def deter(self) -> int:
        return self.cells + self.vector + self.memory


def grid_layout(config: Config, spec: EnvSpec) -> GridLayout:
    """The layout for an environment.

    Raises:
        ConfigError: unless the observation has exactly one grid, and beside it only vectors, discretes and a mask.
    """
    grids = [name for name, entry in spec.obs.items() if entry.kind == "grid"]
    images = [name for name, entry in spec.obs.items() if entry.kind == "image"]
    if len(grids) != 1 or images:
        raise ConfigError(
            f"model.kind='grid' is not allowed: it needs exactly one grid and no image; grids {grids}, images {images}"
        )
    entry = spec.obs[grids[0]]
    channels, height, width = entry.shape
    if entry.classes > 2:
        channels *= entry.classes
    names = tuple(sorted(name for name, other in spec.obs.items() if other.kind in ("vector", "discrete")))
    sizes = tuple(spec.obs[n].size * (spec.obs[n].classes if spec.obs[n].kind == "discrete" else 1) for n in names)
    focus = "object" if entry.shape[0] > 1 else "centre"
    if is_cell_action(spec.action, height, width):
        focus = "action"
    return GridLayout(
        grids[0], channels, height, width, entry.classes, names, sizes, sum(sizes), config.model.deter, focus
    )


def is_cell_action(action: ActionSpec, height: int, width: int) -> bool:
    """Whether an action names one cell of a grid."""
    return len(action.parts) == 1 and action.parts[0].kind == "categorical" and action.parts[0].size == height * width


def split_state(layout: GridLayout, deter: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``deter [..., D]`` as cells ``[..., C, H, W]`` in [0, 1], vector ``[..., V]`` (symlog) and memory ``[..., M]``."""
    cells = deter[..., : layout.cells].reshape(*deter.shape[:-1], layout.channels, layout.height, layout.width)
    vector = deter[..., layout.cells : layout.cells + layout.vector]
    return cells, vector, deter[..., layout.cells + layout.vector :]


def focus_place(layout: GridLayout, cells: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Row and column int32 ``[N]`` where the action acts: its own cell, or the corner of the object it moves."""
    if layout.focus == "action":
        index = jnp.argmax(action, -1)
        return index // layout.width, index % layout.width
    if layout.focus == "object":
        occupied = cells[:, -1] > 0.5
        row, column = jnp.argmax(jnp.any(occupied, 2), 1), jnp.argmax(jnp.any(occupied, 1), 1)
        none = ~jnp.any(occupied, (1, 2))
        return jnp.where(none, 0, row), jnp.where(none, layout.width // 2, column)
    middle = jnp.zeros(cells.shape[:1], jnp.int32)
    return middle + layout.height // 2, middle + layout.width // 2


def window(
    x: jax.Array, row: jax.Array, column: jax.Array, rows: tuple[int, int], columns: tuple[int, int]
) -> jax.Array:
    """Cells around a place, with one more channel that marks what lies outside the grid.

    Args:
        x: ``[N, C, H, W]``. row, column: int32 ``[N]``.
        rows, columns: how far up and down, left and right.

    Returns:
        ``[N, C + 1, rows[0] + rows[1] + 1, columns[0] + columns[1] + 1]``.
    """
    height, width = x.shape[-2:]
    pads = (rows, columns)
    inside = jnp.pad(x, ((0, 0), (0, 0), *pads))
    border = jnp.pad(jnp.zeros((1, 1, height, width), x.dtype), ((0, 0), (0, 0), *pads), constant_values=1)
    padded = jnp.concatenate([inside, jnp.broadcast_to(border, (x.shape[0], 1, *inside.shape[2:]))], 1)
    index_r = (row[:, None] + np.arange(rows[0] + rows[1] + 1)[None])[:, None, :, None]
    index_c = (column[:, None] + np.arange(columns[0] + columns[1] + 1)[None])[:, None, None, :]
    return jnp.take_along_axis(jnp.take_along_axis(padded, index_r, 2), index_c, 3)


def place(edit: jax.Array, row: jax.Array, column: jax.Array, shape: tuple[int, int], up: int, left: int) -> jax.Array:
    """Writes windows ``[N, C, h, w]`` whose cell ``(up, left)`` is ``(row, column)`` onto empty grids ``[N, C, H, W]``."""
    height, width = edit.shape[-2:]
    to_row = (row[:, None] - up + np.arange(height)[None])[..., None] == np.arange(shape[0])[None, None]
    to_column = (column[:, None] - left + np.arange(width)[None])[..., None] == np.arange(shape[1])[None, None]
    spread = jnp.einsum("nchw,nwx->nchx", edit, to_column.astype(edit.dtype))
    return jnp.einsum("nchx,nhy->ncyx", spread, to_row.astype(edit.dtype))


class LocalEdit(nn.Module):
    """Changes of cell logits in a window around the action's place, by one MLP: ``[N, C, H, W]``, and its features."""

    layout: GridLayout
    units: int
    act: str
    reach: int
    dtype: Dtype

    @nn.compact
    def __call__(
        self, cells: jax.Array, row: jax.Array, column: jax.Array, cond: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        layout, reach = self.layout, self.reach
        seen = window(cells, row, column, (reach, reach), (3, 3))
        x = jnp.concatenate([seen.reshape(seen.shape[0], -1).astype(self.dtype), cond], -1)
        hidden = MLP(2, self.units, act=self.act, dtype=self.dtype)(x)
        out = Dense(layout.channels * (2 * reach + 1) * 7, dtype=self.dtype)(hidden).astype(jnp.float32)
        edit = out.reshape(-1, layout.channels, 2 * reach + 1, 7)
        return place(edit, row, column, (layout.height, layout.width), reach, 3), hidden


class BandEdit(nn.Module):
    """Changes of cell logits in a band of columns around an object, over all rows, by layers shared over the rows.

    Hazards ``s >= 0`` of each row are learned; ``exp(-sum of s)`` along the band, from above and from below, tells each
    row what can reach it: where something that moves along the band is stopped.
    """

    layout: GridLayout
    units: int
    act: str
    dtype: Dtype

    @nn.compact
    def __call__(
        self, cells: jax.Array, row: jax.Array, column: jax.Array, cond: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        layout = self.layout
        left, right, around, hazards = 4, 5, 3, 8
        count, height, broad = cells.shape[0], layout.height, left + right + 1
        band = window(cells, jnp.zeros_like(row), column, (around, height - 1 + around), (left, right))
        stacked = jnp.stack([band[:, :, i : i + height] for i in range(2 * around + 1)], 3)
        x = jnp.swapaxes(stacked, 1, 2).reshape(count, height, -1).astype(self.dtype)
        relative = jnp.clip(np.arange(height)[None] - row[:, None], -5, 5) + 5
        x = jnp.concatenate([x, jax.nn.one_hot(relative, 11, dtype=self.dtype)], -1)
        norm = NormAct(self.act, "rms", self.dtype)
        context = Dense(self.units, use_bias=False, dtype=self.dtype, name="context")(cond)[:, None]
        x = norm(Dense(self.units, dtype=self.dtype)(x) + context)
        hazard = jax.nn.softplus(Dense(hazards, dtype=self.dtype)(x).astype(jnp.float32) - 2)
        from_above = jnp.exp(-jnp.cumsum(hazard, 1))
        from_below = jnp.exp(-jnp.cumsum(hazard[:, ::-1], 1)[:, ::-1])
        reached = jnp.concatenate([from_above, from_below], -1).astype(self.dtype)
        narrow = jnp.concatenate([Dense(32, dtype=self.dtype)(x), reached], -1)
        padded = jnp.pad(narrow, ((0, 0), (around, around), (0, 0)))
        near = jnp.concatenate([padded[:, i : i + height] for i in range(2 * around + 1)], -1)
        x = NormAct(self.act, "rms", self.dtype)(
            Dense(self.units, dtype=self.dtype)(jnp.concatenate([near, x], -1)) + context
        )
        edit = Dense(layout.channels * broad, dtype=self.dtype)(x).astype(jnp.float32)
        edit = jnp.swapaxes(edit.reshape(count, height, layout.channels, broad), 1, 2)
        zero = jnp.zeros_like(row)
        pooled = jnp.concatenate([jnp.mean(x, 1), jnp.max(x, 1)], -1)
        return place(edit, zero, column, (height, layout.width), 0, left), pooled


def _down(rows: jax.Array, d: int, fill: float) -> jax.Array:
    """``rows [N, H, F]``, each ``d`` rows lower; ``fill`` comes in at the top."""
    return jnp.pad(rows, ((0, 0), (d, 0), (0, 0)), constant_values=fill)[:, : rows.shape[1]]


class RowPointer(nn.Module):
    """Lets every row come from a row above it, or be blank: ``[N, C, H, W]`` probabilities to the same.

    For each source row and each shift, a small network scores how well that shift suits the row, from learned features of
    the row and their sums over the rows below it and over those down to it. The weights of row ``r`` are the softmax over
    shifts ``d`` of the scores of its sources ``r - d``, blank (all zeros) included.
    """

    units: int = 32
    features: int = 4

    @nn.compact
    def __call__(self, cells: jax.Array) -> jax.Array:
        count, channels, height, width = cells.shape
        rows = jnp.swapaxes(cells, 1, 2).reshape(count, height, channels * width)
        hidden = jax.nn.silu(nn.Dense(self.units, name="rows")(2 * rows - 1))
        feature = jax.nn.sigmoid(nn.Dense(self.features, name="features")(hidden))
        below = jnp.cumsum(feature[:, ::-1], 1)[:, ::-1] - feature
        joint = jnp.concatenate([feature, below, jnp.cumsum(feature, 1)], -1)
        hidden = jax.nn.silu(nn.Dense(self.units, name="joint")(joint))
        # Begin close to "no row moves".
        bias = lambda *_: jnp.asarray([3.0] + [-1.0] * MAX_SHIFT, jnp.float32)  # noqa: E731
        score = nn.Dense(MAX_SHIFT + 1, name="score", bias_init=bias)(hidden)
        # score[s, d] speaks for source s at row s + d; a shift that would reach above the grid is as good as never taken.
        shifts = range(MAX_SHIFT + 1)
        total = jnp.stack([_down(score[..., d : d + 1], d, -20.0)[..., 0] for d in shifts], -1)
        blank = nn.Dense(1, name="blank")(hidden)
        weight = jax.nn.softmax(jnp.concatenate([total, blank], -1))
        moved = jnp.zeros_like(rows)
        for d in shifts:
            moved += weight[..., d : d + 1] * _down(rows, d, 0.0)
        return jnp.swapaxes(moved.reshape(count, height, channels, width), 1, 2)


class BandedConv(nn.Module):
    """A stride-1 convolution ``[N, C, H, W] -> [N, H, W, units]`` as products with banded matrices.

    Every row is multiplied, with its neighbours, by one matrix ``[rows * W * C, W * units]`` that repeats the kernel along
    the columns: about twice the arithmetic of the convolution, at ten times its speed on CPUs. Outside counts as 0.
    """

    units: int
    near: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        count, channels, height, width = x.shape
        side = 2 * self.near + 1
        fan_in = side * side * channels
        init = nn.initializers.truncated_normal(1.1368 / fan_in**0.5)
        kernel = self.param("kernel", init, (side, side, channels, self.units))
        offset = np.arange(width)[:, None] - np.arange(width)[None] + self.near
        band = jnp.asarray(offset[..., None] == np.arange(side), self.dtype)
        matrix = jnp.einsum("xyk,rkcu->rcxyu", band, kernel.astype(self.dtype))
        matrix = matrix.reshape(side * channels * width, width * self.units)
        rows = jnp.pad(jnp.swapaxes(x, 1, 2), ((0, 0), (self.near, self.near), (0, 0), (0, 0)))
        stacked = jnp.stack([rows[:, i : i + height] for i in range(side)], 2)
        out = stacked.reshape(count * height, -1).astype(self.dtype) @ matrix
        return out.reshape(count, height, width, self.units)


class CellScores(nn.Module):
    """One number for each cell, from the cells around it and what is above it in its column.

    ``feat [..., F]`` (the flat state) to ``[..., H * W]`` float32. Weights are shared over places; what distinguishes them
    is the window and learned hazards from above. Of the rest of the state only the observed vector is read.
    """

    layout: GridLayout
    units: int
    act: str
    dtype: Dtype
    scale: float = 1.0

    @nn.compact
    def __call__(self, feat: jax.Array) -> jax.Array:
        lead = feat.shape[:-1]
        cells, vector, _ = split_state(self.layout, feat.reshape(-1, feat.shape[-1])[:, : self.layout.deter])
        count, _, height, width = cells.shape
        # A channel of ones tells the inside from the outside, which counts as 0.
        x = jnp.concatenate([cells, jnp.ones((count, 1, height, width), cells.dtype)], 1)
        context = jnp.zeros((1, 1, 1, self.units), self.dtype)
        if self.layout.vector:
            context = Dense(self.units, dtype=self.dtype, name="context")(vector.astype(self.dtype))[:, None, None]
        x = NormAct(self.act, "rms", self.dtype)(BandedConv(self.units, 3, self.dtype)(x) + context)
        hazard = jax.nn.softplus(Dense(8, dtype=self.dtype)(x).astype(jnp.float32) - 2)
        clear = jnp.exp(-jnp.cumsum(hazard, 1)).astype(self.dtype)
        x = Dense(self.units, dtype=self.dtype)(jnp.concatenate([x, clear], -1)) + context
        x = NormAct(self.act, "rms", self.dtype)(x)
        return Dense(1, self.scale, dtype=self.dtype)(x).astype(jnp.float32).reshape(*lead, height * width)


class GridTrunk(nn.Module):
    """Features of a whole board for values and rewards: windows of four columns through one shared network, pooled.

    ``feat [..., F]`` (the flat state) to ``[..., outputs]`` float32.
    """

    layout: GridLayout
    units: int
    layers: int
    outputs: int
    scale: float
    act: str
    dtype: Dtype
    focused: bool = False

    @nn.compact
    def __call__(self, feat: jax.Array) -> jax.Array:
        layout, lead = self.layout, feat.shape[:-1]
        feat = feat.reshape(-1, feat.shape[-1])
        cells, _, _ = split_state(layout, feat[:, : layout.deter])
        rest = feat[:, layout.cells :].astype(self.dtype)
        span = min(4, layout.width)
        windows = jnp.stack([cells[..., i : i + span] for i in range(layout.width - span + 1)], 1)
        windows = windows.reshape(*windows.shape[:2], -1).astype(self.dtype)
        context = Dense(self.units, use_bias=False, dtype=self.dtype, name="context")(rest)[:, None]
        x = NormAct(self.act, "rms", self.dtype)(Dense(self.units, dtype=self.dtype)(windows) + context)
        x = NormAct(self.act, "rms", self.dtype)(Dense(self.units, dtype=self.dtype)(x))
        parts = [jnp.mean(x, 1), jnp.max(x, 1), rest]
        if self.focused and layout.focus == "object":
            row, column = focus_place(layout, cells, rest)
            around = window(cells, jnp.zeros_like(row), column, (0, layout.height - 1), (4, 5))
            parts.append(around.reshape(around.shape[0], -1).astype(self.dtype))
            parts.append(jax.nn.one_hot(row, layout.height, dtype=self.dtype))
        out = MLP(self.layers, self.units, self.outputs, self.scale, self.act, "rms", self.dtype)(
            jnp.concatenate(parts, -1)
        )
        return out.astype(jnp.float32).reshape(*lead, self.outputs)


class GridModel(nn.Module):
    """The grid world model's parameters and steps; every array has one leading axis ``[N]``."""

    config: Config
    spec: EnvSpec
    layout: GridLayout
    dtype: Dtype

    def setup(self) -> None:
        model, layout = self.config.model, self.layout
        net = dict(act=model.act, norm=model.norm, dtype=self.dtype)
        latent = model.stoch * (model.classes if model.latent == "categorical" else 2)
        self.encoder = MLP(model.layers, model.units, **net)
        self.glance = Dense(model.hidden, dtype=self.dtype)
        self.cell = DenseGRU(model, self.dtype)
        self.prior_out = MLP(model.prior_layers, model.hidden, latent, **net)
        self.post_out = MLP(model.posterior_layers, model.hidden, latent, **net)
        self.edit: nn.Module
        if model.reach:
            self.edit = LocalEdit(layout, model.units, model.act, model.reach, self.dtype)
        else:
            self.edit = BandEdit(layout, model.units // 2, model.act, self.dtype)
        self.absolute = MLP(1, model.units, layout.cells, **net)
        self.pointer = RowPointer()
        if layout.vector:
            self.vector_out = MLP(model.layers, model.units, layout.vector, **net)
        head = dict(layout=layout, units=model.hidden, layers=model.head_layers, act=model.act, dtype=self.dtype)
        bins = model.bins if model.reward_head == "twohot" else 1
        self.reward_head = GridTrunk(outputs=bins, scale=0.0, **head)
        self.cont_head = GridTrunk(outputs=1, scale=1.0, **head)
        self.mask_head: nn.Module
        if MASK_KEY in self.spec.obs and layout.focus == "action":
            self.mask_head = CellScores(layout, 48, model.act, self.dtype)
        elif MASK_KEY in self.spec.obs:
            self.mask_head = GridTrunk(outputs=self.spec.obs[MASK_KEY].size, scale=1.0, **head)
        sticky = lambda *_: jnp.full((layout.channels, 1, 1), 4.0, jnp.float32)  # noqa: E731
        self.keep = self.param("keep", sticky)
        self.movable = self.param("movable", nn.initializers.zeros_init(), (layout.channels, 1, 1))

    def embed(self, obs: jax.Array) -> jax.Array:
        """Flat observations ``[..., cells + vector]`` to ``[..., units + cells + vector]``."""
        tokens = self.encoder(obs)
        return jnp.concatenate([tokens, obs.astype(tokens.dtype)], -1)

    def memory(self, state: RSSMState, action: jax.Array) -> jax.Array:
        """The recurrent part after an action: ``[N, M]``."""
        cells, vector, memory = split_state(self.layout, state.deter)
        row, column = focus_place(self.layout, cells, action)
        seen = window(cells, row, column, (3, 3), (3, 3)).reshape(cells.shape[0], -1)
        glance = self.glance(jnp.concatenate([seen, vector], -1))
        stoch = jnp.concatenate([state.stoch.reshape(cells.shape[0], -1), glance], -1)
        return self.cell(memory, stoch, self._action(action))

    def _action(self, action: jax.Array) -> jax.Array:
        # Where an action names a cell, the window says which; what else the class is adds nothing but parameters.
        if self.layout.focus == "action":
            return action[..., :0].astype(self.dtype)
        return (action / jax.lax.stop_gradient(jnp.maximum(1.0, jnp.abs(action)))).astype(self.dtype)

    def prior_logit(self, memory: jax.Array) -> jax.Array:
        return self._logit(self.prior_out(memory))

    def post_logit(self, memory: jax.Array, tokens: jax.Array) -> jax.Array:
        return self._logit(self.post_out(jnp.concatenate([memory, tokens], -1)))

    def _logit(self, raw: jax.Array) -> jax.Array:
        model = self.config.model
        if model.latent == "gaussian":
            return gaussian_logit(raw, model.min_std)
        return unimix_logit(raw.reshape(*raw.shape[:-1], model.stoch, model.classes), model.unimix)

    def predict(
        self, state: RSSMState, action: jax.Array, memory: jax.Array, stoch: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Next cells as logits ``[N, C, H, W]`` and next vector (symlog) ``[N, V]``.

        From the state and action before, the memory after, and the latent after (posterior in training, prior in
        imagination): what chance decided is in the latent.
        """
        layout = self.layout
        cells, vector, _ = split_state(layout, state.deter)
        cells, vector = cells.astype(jnp.float32), vector.astype(self.dtype)
        row, column = focus_place(layout, cells, action)
        latent = stoch.reshape(stoch.shape[0], -1).astype(self.dtype)
        cond = jnp.concatenate([vector, self._action(action), latent, memory.astype(self.dtype)], -1)
        edit, hidden = self.edit(cells, row, column, cond)
        logit = (2 * cells - 1) * self.keep[None] + edit
        whole = jnp.concatenate([cond, hidden], -1)
        if layout.focus != "action":
            logit += self.absolute(whole).astype(jnp.float32).reshape(logit.shape)
        probs = jax.nn.sigmoid(logit)
        moved = self.pointer(probs)
        share = jax.nn.sigmoid(self.movable + 2.0)[None]
        probs = jnp.clip((1 - share) * probs + share * moved, 1e-5, 1 - 1e-5)
        following = self.vector_out(whole) if layout.vector else vector
        return jnp.log(probs) - jnp.log1p(-probs), following.astype(jnp.float32)

    def reward(self, feat: jax.Array) -> jax.Array:
        return self.reward_head(feat)

    def cont(self, feat: jax.Array) -> jax.Array:
        return self.cont_head(feat)[..., 0]

    def mask(self, feat: jax.Array) -> jax.Array:
        return self.mask_head(feat)

    def touch(self, obs: jax.Array, state: RSSMState, action: jax.Array) -> None:
        """Visits every part once, for ``init``."""
        memory = self.memory(state, action)
        self.post_logit(memory, self.embed(obs)[..., : self.config.model.units])
        self.prior_logit(memory)
        self.predict(state, action, memory, state.stoch)
        feat = jnp.concatenate([state.deter, state.stoch.reshape(state.stoch.shape[0], -1)], -1)
        self.reward(feat), self.cont(feat)
        if MASK_KEY in self.spec.obs:
            self.mask(feat)


def make_grid_model(config: Config, spec: EnvSpec) -> WorldModel:
    """The grid world model as a bundle of pure functions; see ``GridModel``."""
    model, layout = config.model, grid_layout(config, spec)
    dtype, kind = jnp.dtype(config.parallel.precision), model.latent
    module = GridModel(config, spec, layout, dtype)
    classes = model.classes if kind == "categorical" else 1

    def call(method: str, params: Params, *args: object) -> Any:
        return module.apply({"params": params}, *args, method=method)

    def flatten(obs: dict[str, jax.Array]) -> jax.Array:
        lead = obs[layout.name].shape[:-3]
        parts = [obs[layout.name].reshape(*lead, layout.cells)]
        for name, size in zip(layout.entries, layout.sizes, strict=True):
            x = obs[name].reshape(*lead, size)
            parts.append(symlog(x) if spec.obs[name].kind == "vector" and model.symlog else x)
        return jnp.concatenate(parts, -1)

    def initial(batch_size: int) -> RSSMState:
        shape = (batch_size, model.stoch, classes)
        return RSSMState(deter=jnp.zeros((batch_size, layout.deter), dtype), stoch=jnp.zeros(shape, dtype))

    def init(key: jax.Array) -> Params:
        obs = {name: jnp.zeros((1, *entry.shape), entry.dtype) for name, entry in spec.obs.items()}
        action = jnp.zeros((1, spec.action.vector_size))
        return module.init(key, flatten(preprocess(spec.obs, obs)), initial(1), action, method="touch")["params"]

    def observe(
        params: Params, state: RSSMState, action: jax.Array, embed: jax.Array, is_first: jax.Array, keys: jax.Array
    ) -> tuple[RSSMState, jax.Array]:
        state, action = reset_where(is_first, state, action)
        memory = call("memory", params, state, action)
        logit = call("post_logit", params, memory, embed[..., : model.units])
        deter = jnp.concatenate([embed[..., model.units :], memory], -1).astype(dtype)
        return RSSMState(deter, sample(logit, keys, kind).astype(dtype)), logit

    def read(cell_logit: jax.Array) -> jax.Array:
        """Cells of the most likely grid ``[..., cells]``."""
        if layout.classes > 2:
            shaped = cell_logit.reshape(*cell_logit.shape[:-3], -1, layout.classes, layout.height, layout.width)
            hot = jax.nn.one_hot(jnp.argmax(shaped, -3), layout.classes, axis=-3)
            return hot.reshape(*cell_logit.shape[:-3], layout.cells)
        return (cell_logit > 0).astype(jnp.float32).reshape(*cell_logit.shape[:-3], layout.cells)

    def entries(vector: jax.Array) -> list[tuple[str, jax.Array]]:
        parts = jnp.split(vector, np.cumsum(layout.sizes)[:-1], -1) if layout.sizes else []
        return list(zip(layout.entries, parts, strict=True))

    def settle(vector: jax.Array) -> jax.Array:
        """The predicted vector as it would be observed: discretes one-hot, the rest as it is."""
        parts = []
        for name, part in entries(vector):
            if spec.obs[name].kind == "discrete":
                shaped = part.reshape(*part.shape[:-1], spec.obs[name].size, spec.obs[name].classes)
                part = jax.nn.one_hot(jnp.argmax(shaped, -1), spec.obs[name].classes).reshape(part.shape)
            parts.append(part)
        return jnp.concatenate(parts, -1) if parts else vector

    def imagine(params: Params, state: RSSMState, action: jax.Array, keys: jax.Array) -> tuple[RSSMState, jax.Array]:
        memory = call("memory", params, state, action)
        logit = call("prior_logit", params, memory)
        stoch = sample(logit, keys, kind).astype(dtype)
        cell_logit, vector = call("predict", params, state, action, memory, stoch)
        deter = jnp.concatenate([read(cell_logit), settle(vector), memory.astype(jnp.float32)], -1).astype(dtype)
        return RSSMState(deter, stoch), logit

    def named(cell_logit: jax.Array, vector: jax.Array) -> dict[str, jax.Array]:
        result = {layout.name: cell_logit}
        for name, part in entries(vector):
            vector_shaped = spec.obs[name].kind == "vector"
            result[name] = part.reshape(*part.shape[:-1], *spec.obs[name].shape) if vector_shaped else part
        return result

    def predict(params: Params, previous: RSSMState, action: jax.Array, state: RSSMState) -> dict[str, jax.Array]:
        lead = action.shape[:-1]
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[len(lead) :]), (previous, action, state))
        memory = split_state(layout, flat[2].deter)[2]
        outputs = call("predict", params, flat[0], flat[1], memory, flat[2].stoch)
        return named(*(x.reshape(*lead, *x.shape[1:]) for x in outputs))

    def decode(params: Params, feat: jax.Array) -> dict[str, jax.Array]:
        cells, vector, _ = split_state(layout, feat[..., : layout.deter].astype(jnp.float32))
        return named((2 * cells - 1) * SURE, vector)

    return WorldModel(
        init=init,
        initial=initial,
        embed=lambda params, obs: call("embed", params, flatten(obs)),
        observe=observe,
        imagine=imagine,
        prior_logit=lambda params, deter: call("prior_logit", params, split_state(layout, deter)[2]),
        kl=lambda left, right: kl(left, right, kind),
        entropy=lambda logit: entropy(logit, kind),
        feat=lambda state: jnp.concatenate([state.deter, state.stoch.reshape(*state.deter.shape[:-1], -1)], -1),
        predict=predict,
        decode=decode,
        reward=lambda params, feat: call("reward", params, feat),
        cont=lambda params, feat: call("cont", params, feat),
        mask=(lambda params, feat: call("mask", params, feat)) if MASK_KEY in spec.obs else None,
        feat_size=layout.deter + model.stoch * classes,
    )


class GridActor(nn.Module):
    """The policy on a grid: a score for each cell where actions are cells, else outputs from the trunk and the focus."""

    layout: GridLayout
    units: int
    layers: int
    outputs: int
    scale: float
    act: str
    dtype: Dtype

    @nn.compact
    def __call__(self, feat: jax.Array) -> jax.Array:
        if self.layout.focus == "action":
            return CellScores(self.layout, self.units, self.act, self.dtype, self.scale)(feat)
        net = (self.layout, self.units, self.layers, self.outputs, self.scale, self.act, self.dtype)
        return GridTrunk(*net, focused=True)(feat)
