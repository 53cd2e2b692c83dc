"""What traced programs are made of: matrix products, and the parts of a ``lax.scan`` as each version of JAX says them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dreamjax.training.runtime import memory


def matrix_products(jaxpr: Any) -> Iterator[Any]:
    """The matrix products and convolutions of a program and of those within it."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in ("dot_general", "conv_general_dilated"):
            yield eqn
        for inner in memory._inner(eqn):
            yield from matrix_products(inner)


def parts_of(params: dict[str, Any]) -> tuple[Any, Any, int, int]:
    """Body, its constants, and how many of its inputs are the same in all steps and how many are handed on."""
    body = params["jaxpr"]
    if "ft_in" in params:  # from JAX 0.11 on
        shared, carry, _ = (len(list(part.vals)) for part in params["ft_in"].unpack())
    else:
        shared, carry = params["num_consts"], params["num_carry"]
    return getattr(body, "jaxpr", body), getattr(body, "consts", ()), shared, carry
