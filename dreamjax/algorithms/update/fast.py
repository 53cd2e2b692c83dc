"""The part of the update that exists for speed alone: results are those of the plain computation it stands for.

The actor's matrix products of imagination are kept and used again by its loss, and on CPUs the losses on rollouts are
computed in parts that fit the caches.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import struct

from dreamjax.algorithms.update.state import Learner
from dreamjax.models.fast.activations import Activations, apply_recorded, record
from dreamjax.types import Imagination, Params

CACHED_STATES = 4096  # imagined states, H + 1 a rollout, whose losses a CPU computes at once


@struct.dataclass
class Rollouts:
    """Rollouts, and what the actor's layers computed while they were imagined (None: not kept)."""

    rollouts: Imagination
    activations: Activations | None = None


def policy_outputs(learner: Learner, actor: Params) -> Callable[[jax.Array], tuple[jax.Array, Activations | None]]:
    """``feat -> (outputs of the actor, activations)``.

    Activations are not kept where rollouts of older actors are drawn from a ring, nor with micro-batches, which are there
    to save memory.
    """
    head = learner.networks.actor
    if learner.imagination.use_ring or learner.micro_batches > 1:
        return lambda feat: (head.apply(actor, feat), None)
    return lambda feat: record(head, actor, feat)


def policy_outputs_again(learner: Learner, actor: Params, dreamed: Rollouts) -> jax.Array:
    """``actor.apply`` on all features of the rollouts, from kept activations where there are some."""
    return apply_recorded(learner.networks.actor, actor, dreamed.rollouts.feat, dreamed.activations)


def behavior_parts(states: tuple[int, ...], windows: int, *, least: int) -> int:
    """Parts that the losses on rollouts of ``states`` ``(N, H + 1)`` are computed in: ``least``, and more on CPUs.

    There the fewest that divide rollouts and windows and leave at most ``CACHED_STATES`` to a part: a head's outputs for
    more states fall out of the caches between one operation and the next.
    """
    if jax.default_backend() != "cpu":
        return least
    allowed = [parts for parts in range(least, windows + 1, least) if windows % parts == states[0] % parts == 0]
    return next(
        (parts for parts in allowed if states[0] * states[1] <= CACHED_STATES * parts), (allowed or [least])[-1]
    )
