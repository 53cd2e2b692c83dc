"""What the grid world model hoists out of a scan: features of what each action did, for all steps of a window at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dreamjax.models.fast.steps import FastPath
from dreamjax.types import Params, RSSMState


def grid_fast_path(module: nn.Module, units: int, shown: int) -> FastPath:
    """The fast path of a ``GridModel``.

    ``GridModel.effect`` depends on the observation before the action, not on the memory; in a window it is known for all
    steps before the scan.

    Args:
        module: the model. units: leading entries of an embedding, the encoder's outputs.
        shown: the entries that follow them, the observation itself, with which also ``deter`` of a state begins.
    """

    def hoist(
        params: Params, shared: None, start: RSSMState, embed: jax.Array, action: jax.Array, is_first: jax.Array
    ) -> jax.Array:
        before = jnp.concatenate([start.deter[:, None, :shown], embed[:, :-1, units:]], 1)
        before, action = (jnp.where(is_first[..., None], 0.0, x) for x in (before, action))
        flat = before.reshape(-1, shown), action.reshape(-1, action.shape[-1])
        effect = jnp.asarray(module.apply({"params": params}, *flat, method="effect"))
        return effect.reshape(*is_first.shape, -1)

    def use(shared: None, effect: jax.Array | None) -> AbstractContextManager[None]:
        if effect is None:
            return nullcontext()

        def intercept(
            next_fun: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext
        ) -> Any:
            ours = isinstance(context.module, type(module)) and context.method_name == "effect"
            return effect if ours else next_fun(*args, **kwargs)

        return nn.intercept_methods(intercept)

    return FastPath(lambda params: None, hoist, use)
