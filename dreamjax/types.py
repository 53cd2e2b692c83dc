"""The pytrees and specifications that flow through DreamJAX.

One time alignment holds everywhere. Record ``t`` holds the observation ``obs[t]``; the reward received on
*arriving* at it; ``is_first[t]`` (it came from a reset), ``is_last[t]`` (the episode ended here) and
``is_terminal[t]`` (it ended by termination, not by a time limit); and ``action[t]``, chosen *from* ``obs[t]``
(zero and ignored where ``is_last``).

Actions have two forms. A *record* is what buffers keep: ``[..., K]``, one column for each categorical (its index),
each bit and each continuous dimension. A *vector* is what networks read: ``[..., A]`` float32, categoricals one-hot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from flax import struct

Array = Any  # jax.Array, or np.ndarray on the host
Params = Any  # a nested dict of arrays, as Flax makes it
Metrics = dict[str, Array]

ActionForm = Literal["record", "vector", "outputs"]  # a record, a vector, or an actor's raw outputs

MASK_KEY = "action_mask"


ParamPath = tuple[str, ...]  # keys of a nested dict of parameters


class Tensors(NamedTuple):
    """Which parameters of a network count as one tensor where gradients are clipped by tensor.

    Everything is one tensor for each array, but for:

    Attributes:
        joined: paths of arrays that are one tensor together.
        columns: paths of arrays that are several tensors side by side along the last axis, and the width of each.
    """

    joined: tuple[tuple[ParamPath, ...], ...] = ()
    columns: tuple[tuple[ParamPath, tuple[int, ...]], ...] = ()


ONE_TENSOR_EACH = Tensors()


# Specifications: what an environment gives and takes. Hashable, known before anything is traced.


@dataclass(frozen=True)
class ObsSpec:
    """One entry of the observation dictionary.

    Attributes:
        kind: "vector" (float, any range), "grid" ``(C, H, W)`` of small integers, "image" ``(H, W, C)`` uint8 or float
            in [0, 1], "discrete" (integers below ``classes``, one each), "mask" (which actions are legal; not encoded).
        shape: shape of one record, without batch or time.
        dtype: NumPy dtype of the record.
        classes: number of values of a "grid" or "discrete" entry; 2 for a grid of bits; 0 elsewhere.
    """

    kind: Literal["vector", "grid", "image", "discrete", "mask"]
    shape: tuple[int, ...]
    dtype: str
    classes: int = 0

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class ActionPart:
    """One factor of an action space.

    Attributes:
        kind: "categorical" (one of ``size``), "binary" (``size`` bits pressed together), "continuous" (``size`` numbers,
            in [-1, 1] here; the adapter scales them to [low, high]).
        size: classes, bits or dimensions.
        masked: whether ``obs["action_mask"]`` says which classes are legal (categorical only).
        low, high: bounds of the environment's own action, per dimension (continuous only).
        name: the keys of the environment's action space that lead to it, joined by "/"; "" in specifications of older
            versions. Not compared: it matters only where an agent meets another environment (``dreamjax.envs.matching``).
    """

    kind: Literal["categorical", "binary", "continuous"]
    size: int
    masked: bool = False
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    name: str = field(default="", compare=False)

    @property
    def columns(self) -> int:
        """Columns this part takes in an action record."""
        return 1 if self.kind == "categorical" else self.size

    @property
    def outputs(self) -> int:
        """Raw outputs that an actor needs for it: a logit for each class or bit, mean and deviation for each number."""
        return 2 * self.size if self.kind == "continuous" else self.size


@dataclass(frozen=True)
class ActionSpec:
    """An action space as a product of independent parts, in order."""

    parts: tuple[ActionPart, ...]

    @property
    def record_size(self) -> int:
        """K, the columns of an action record."""
        return sum(part.columns for part in self.parts)

    @property
    def record_dtype(self) -> str:
        """int32 unless a part is continuous."""
        return "float32" if any(part.kind == "continuous" for part in self.parts) else "int32"

    @property
    def vector_size(self) -> int:
        """A, the length of an action vector."""
        return sum(part.size for part in self.parts)

    @property
    def output_size(self) -> int:
        """P, the raw outputs of an actor."""
        return sum(part.outputs for part in self.parts)

    def slices(self, form: ActionForm) -> list[slice]:
        """Where each part lies in the last axis of a record, a vector or an actor's raw outputs."""
        sizes = {
            "record": [part.columns for part in self.parts],
            "vector": [part.size for part in self.parts],
            "outputs": [part.outputs for part in self.parts],
        }[form]
        ends = np.cumsum(sizes).tolist()
        return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]

    def split(self, x: Array, form: ActionForm) -> list[Array]:
        """``x [..., size]`` cut into its parts, in order; ``form`` says what ``x`` is."""
        slices = self.slices(form)
        assert x.shape[-1] == slices[-1].stop, (x.shape, form, self)
        return [x[..., where] for where in slices]

    @property
    def masked(self) -> bool:
        return any(part.masked for part in self.parts)


@dataclass(frozen=True)
class EnvSpec:
    """What an environment gives (``obs``, by name) and takes (``action``)."""

    obs: Mapping[str, ObsSpec]
    action: ActionSpec


# What flows from environment to update.


@dataclass
class Records:
    """One record for each of ``N`` environments, as NumPy arrays on the host, action not yet chosen.

    Attributes:
        env: int32 ``[N]``, which environment each row belongs to.
        obs: by name, ``[N, ...]`` in the record's dtype.
        reward: float32 ``[N]``, received on arriving here; 0 where ``is_first``.
        is_first, is_last, is_terminal: bool ``[N]``.
        info: by name, ``[N]`` numbers of the environment (``lines``, ...); not stored.
    """

    env: np.ndarray
    obs: dict[str, np.ndarray]
    reward: np.ndarray
    is_first: np.ndarray
    is_last: np.ndarray
    is_terminal: np.ndarray
    info: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.env)


@struct.dataclass
class RSSMState:
    """Latent state of a world model; leading dimensions are free.

    Attributes:
        deter: ``[..., D]``, compute dtype; the recurrent part. The grid model keeps cells, vector and memory in it, flat
            (``models.grid.layout.split_state``).
        stoch: ``[..., S, K]`` the sample: one-hot over K classes, or K = 1 for a Gaussian.
    """

    deter: Array
    stoch: Array


@struct.dataclass
class Batch:
    """Replayed windows ``[B, T]``.

    Attributes:
        obs: by name, ``[B, T, ...]`` in the record's dtype.
        action: ``[B, T, K]`` action records, int32 or float32; ``action[:, t]`` was chosen from ``obs[:, t]``.
        reward: float32 ``[B, T]``.
        is_first, is_last, is_terminal: bool ``[B, T]``.
        row: int32 ``[B]``, the row's index in the *global* batch: randomness folds by it.
        prev_action: ``[B, K]``, the action record just before the window (ignored where the window begins an episode).
        context: latent state just before the window, or None to begin each window from the initial state.
    """

    obs: dict[str, Array]
    action: Array
    reward: Array
    is_first: Array
    is_last: Array
    is_terminal: Array
    row: Array
    prev_action: Array
    context: RSSMState | None = None


@struct.dataclass
class Imagination:
    """Imagined rollouts of ``N`` starts over ``H`` steps; ``feat[0..H]``, ``action[0..H-1]``. No gradient flows in.

    Attributes:
        feat: ``[N, H+1, ...]`` features; index 0 is the replayed start.
        action: ``[N, H, A]`` action vectors, ``action[:, t]`` chosen from ``feat[:, t]``.
        log_prob: float32 ``[N, H]`` under the policy that acted.
        mask: bool ``[N, H+1, C]`` legal classes, or None where the action space has no mask.
        reward: float32 ``[N, H+1]`` predicted on arriving at ``feat[t]``.
        cont: float32 ``[N, H+1]`` probability that the episode goes on from ``feat[t]``, discount not included.
        row: int32 ``[N]`` global index of the rollout.
    """

    feat: Array
    action: Array
    log_prob: Array
    mask: Array | None
    reward: Array
    cont: Array
    row: Array


@struct.dataclass
class NormalizerState:
    """Moving percentiles of returns or of disagreement.

    ``low`` and ``high`` float32 ``[]``; ``count`` int32 ``[]``, updates of them.
    """

    low: Array
    high: Array
    count: Array


@struct.dataclass
class ExplorerState:
    """State of the explorer other than its parameters.

    ``slow_critic``: moving average of its critic; ``retnorm``: percentiles of its imagined returns; ``novelty``: of the
    ensemble's disagreement about its imagined steps.
    """

    slow_critic: Params
    retnorm: NormalizerState
    novelty: NormalizerState


@struct.dataclass
class TrainState:
    """Everything that learning changes; arrays only, one checkpoint.

    Attributes:
        step: int32 ``[]`` updates done (world-model and actor-critic phases run together count once).
        key: typed PRNG key; never consumed, folded by ``step`` and by global row.
        params: {"world_model", "actor", "critic"} (and "ensemble", "explorer_actor", "explorer_critic" where configured).
        slow_critic: moving average of ``params["critic"]``.
        opt_state: optimizer state by group.
        retnorm: percentiles of imagined returns.
        ring: imagined rollouts kept for later actor-critic phases, or None.
        explorer: what the explorer keeps, or None without one.
    """

    step: Array
    key: Array
    params: dict[str, Params]
    slow_critic: Params
    opt_state: dict[str, Any]
    retnorm: NormalizerState
    ring: Any = None
    explorer: ExplorerState | None = None


class ReplayOuts(NamedTuple):
    """What an update gives back to replay: fresh latents ``[B, T, ...]`` and priorities float32 ``[B, T]``."""

    latents: RSSMState
    priority: Array


# Bundles of pure functions. ``params`` is the group's own tree.


class WorldModel(NamedTuple):
    """A world model as pure functions of one step; leading dimensions ``[...]`` are free unless a shape is given.

    Attributes:
        init: ``(key) -> params``.
        initial: ``(batch_size) -> RSSMState`` zeros.
        embed: ``(params, obs) -> embed`` from *preprocessed* observations.
        observe: ``(params, state, action, embed, is_first, keys) -> (post, post_logit)`` one step of ``[B]``; masks state
            and action where ``is_first``; ``keys`` are ``[B]`` typed keys, one a row, consumed.
        imagine: ``(params, state, action, keys) -> (prior, prior_logit)`` one step of ``[B]``.
        prior_logit: ``(params, deter) -> logit``.
        kl: ``(logit, logit) -> float32 [...]`` summed over latents.
        feat: ``(state) -> features`` for heads, actor and critic.
        decode: ``(params, feat) -> {name: prediction parameters}`` of what a state itself shows.
        predict: ``(params, previous, action, state) -> {name: prediction parameters}`` of the observation on arriving at
            ``state`` from ``previous``; the reconstruction loss is on these. Where a state holds all, it is ``decode``.
        reward: ``(params, feat) -> logits [..., bins]``.
        cont: ``(params, feat) -> logit [...]``.
        mask: ``(params, feat) -> logit [..., C]`` which actions are legal there, or None without masks.
        entropy: ``(logit) -> float32 [...]`` nats, summed over latents.
        feat_size: length of the last axis of ``feat``.
        needs_previous: whether ``predict`` reads the previous state: a window's first step that has none is then no part
            of the reconstruction loss.
        tensors: what of the parameters counts as one tensor where gradients are clipped.
        fast: what ``models.fast`` needs to run these steps faster inside a scan, or None; opaque to everything else.
    """

    init: Callable[..., Params]
    initial: Callable[..., RSSMState]
    embed: Callable[..., Array]
    observe: Callable[..., tuple[RSSMState, Array]]
    imagine: Callable[..., tuple[RSSMState, Array]]
    prior_logit: Callable[..., Array]
    kl: Callable[..., Array]
    feat: Callable[..., Array]
    decode: Callable[..., dict[str, Array]]
    predict: Callable[..., dict[str, Array]]
    reward: Callable[..., Array]
    cont: Callable[..., Array]
    mask: Callable[..., Array] | None
    entropy: Callable[..., Array]
    feat_size: int
    needs_previous: bool = False
    tensors: Tensors = ONE_TENSOR_EACH
    fast: Any = None
