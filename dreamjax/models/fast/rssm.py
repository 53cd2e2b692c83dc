"""What the vector world model hoists out of a scan: rows that all blocks read, and its kernels' gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import flax.linen as nn
import jax

from dreamjax.config import ModelConfig
from dreamjax.models.fast.deferred_gradients import GradSlot, make_slot, matmul_deferred
from dreamjax.models.fast.kernels import Path, dense_interceptor, multiply
from dreamjax.models.fast.steps import FastPath
from dreamjax.models.nets import BlockDense, Dtype, side_by_side
from dreamjax.types import Params, RSSMState

STEPWISE = ("cell", "post_deter", "post_hidden", "post_out")  # what of an RSSM every observed step applies
SHARED_ROWS: Path = ("rssm", "cell", "hidden")  # the layer whose blocks share inputs

Slots = dict[Path, tuple[GradSlot, ...]]  # one for each product of a layer


def rssm_fast_path(model: ModelConfig, dtype: Dtype) -> FastPath:
    """The fast path of a ``VectorWorldModel``."""

    def share(params: Params) -> dict[Path, jax.Array]:
        # Rows of a kernel that all blocks read, side by side: XLA does not see that every step transposes the same ones.
        if model.cell != "block_gru":
            return {}
        own = model.deter // model.blocks
        return {SHARED_ROWS: side_by_side(params["rssm"]["cell"]["hidden"]["kernel"][:, own:])}

    def hoist(
        params: Params,
        shared: dict[Path, jax.Array],
        start: RSSMState,
        embed: jax.Array,
        action: jax.Array,
        is_first: jax.Array,
    ) -> Slots:
        rows, steps = is_first.shape
        slot = functools.partial(make_slot, rows=rows, steps=steps, dtype=dtype)
        slots: Slots = {}
        for path, kernel in kernels_of(params["rssm"], STEPWISE, ("rssm",)):
            if path in shared:
                wide = shared[path]
                own = kernel.shape[1] - wide.shape[0]
                slots[path] = slot(kernel[:, :own]), slot(wide)
            else:
                slots[path] = (slot(kernel),)
        return slots

    def use(shared: dict[Path, jax.Array], slots: Slots | None) -> AbstractContextManager[None]:
        return nn.intercept_methods(rssm_interceptor(shared, slots or {}))

    return FastPath(share, hoist, use)


def kernels_of(params: Params, names: tuple[str, ...], root: Path) -> list[tuple[Path, jax.Array]]:
    """Kernels, by the path of their layer, of the parts of ``params`` whose name begins with one of ``names``."""
    found: list[tuple[Path, jax.Array]] = []

    def visit(path: Path, inner: Params) -> None:
        for name, value in inner.items():
            if isinstance(value, Mapping):
                visit((*path, name), value)
            elif name == "kernel":
                found.append((path, value))

    for name, inner in params.items():
        if name.startswith(names):
            visit((*root, name), inner)
    return found


def rssm_interceptor(shared: dict[Path, jax.Array], slots: Slots) -> Callable[..., Any]:
    """Replaces products with kernels that have slots, and shared rows that lie side by side already."""

    def deferred(x: jax.Array, kernel: jax.Array, slot: GradSlot) -> jax.Array:
        return matmul_deferred(x, jax.lax.stop_gradient(kernel), slot)

    def dense(path: Path, x: jax.Array, kernel: jax.Array) -> jax.Array:
        return deferred(x, kernel, slots[path][0]) if path in slots else multiply(x, kernel)

    on_dense = dense_interceptor(dense)

    def intercept(next_fun: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module, method = context.module, context.method_name
        if not isinstance(module, BlockDense):
            return on_dense(next_fun, args, kwargs, context)
        if method == "own_product" and module.path in slots:
            x, kernel = args
            return deferred(x, kernel[:, : x.shape[-1]], slots[module.path][0])
        if method == "shared_product" and module.path in shared:
            x, wide = args[0], shared[module.path].astype(args[0].dtype)
            return deferred(x, wide, slots[module.path][1]) if module.path in slots else x @ wide
        return next_fun(*args, **kwargs)

    return intercept
