"""The steps of a world model inside a scan, with what can be computed for the whole scan hoisted out of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dreamjax.types import Params, RSSMState, WorldModel


class FastPath(NamedTuple):
    """What a world model computes before a scan, so that its steps need not (``WorldModel.fast``).

    Interceptors act while a function is traced: functions of the world model must not be jitted on their own.

    Attributes:
        share: ``(params) -> shared``, what all steps use.
        hoist: ``(params, shared, start, embed, action, is_first) -> hoisted``, what the steps of a window use that does not
            depend on the recurrent state: leaves ``[.., T, ...]``; step ``t`` takes entry ``t`` of the second axis.
        use: ``(shared, hoisted or None) -> context manager`` inside which the world model's own functions use them.
    """

    share: Callable[[Params], Any]
    hoist: Callable[..., Any]
    use: Callable[[Any, Any], AbstractContextManager[None]]


PLAIN = FastPath(share=lambda params: None, hoist=lambda *_: None, use=lambda *_: nullcontext())


def imagine_step(
    world_model: WorldModel, params: Params
) -> Callable[[RSSMState, jax.Array, jax.Array], tuple[RSSMState, jax.Array]]:
    """``(state, action, keys) -> (prior, prior_logit)``: ``world_model.imagine``, for use inside a scan.

    Call this before the scan, not inside it.
    """
    fast: FastPath = world_model.fast or PLAIN
    shared = fast.share(params)

    def step(state: RSSMState, action: jax.Array, keys: jax.Array) -> tuple[RSSMState, jax.Array]:
        with fast.use(shared, None):
            return world_model.imagine(params, state, action, keys)

    return step


def observe_steps(
    world_model: WorldModel,
    params: Params,
    start: RSSMState,
    embed: jax.Array,
    action: jax.Array,
    is_first: jax.Array,
    keys_at: Callable[[jax.Array], jax.Array],
) -> tuple[RSSMState, jax.Array]:
    """``post[t], logit[t] = observe(post[t-1], action[t], embed[t], is_first[t])`` by ``lax.scan``: ``[B, T, ...]``.

    Args:
        start: the state before the window, ``[B, ...]``. embed: ``[B, T, E]``.
        action: float32 ``[B, T, A]``, action vectors that led *to* each step. is_first: bool ``[B, T]``.
        keys_at: step ``t`` to typed keys ``[B]``.
    """
    fast: FastPath = world_model.fast or PLAIN
    shared = fast.share(params)
    hoisted = fast.hoist(params, shared, start, embed, action, is_first)

    def step(state: RSSMState, inputs: tuple[Any, ...]) -> tuple[RSSMState, tuple[RSSMState, jax.Array]]:
        t, embed_t, action_t, first_t, hoisted_t = inputs
        with fast.use(shared, hoisted_t):
            post, logit = world_model.observe(params, state, action_t, embed_t, first_t, keys_at(t))
        return post, (post, logit)

    times = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), (embed, action, is_first, hoisted))
    if jax.default_backend() == "cpu":
        # Cheap operations are computed again on the way back: kept, each would be written and read for every step.
        step = jax.checkpoint(step, prevent_cse=False, policy=jax.checkpoint_policies.dots_saveable)
    _, posts = jax.lax.scan(step, start, (jnp.arange(is_first.shape[1]), *times))
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), posts)
