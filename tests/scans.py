"""What a traced ``lax.scan`` is made of, as each version of JAX says it."""

from __future__ import annotations

from typing import Any


def parts_of(params: dict[str, Any]) -> tuple[Any, Any, int, int]:
    """Body, its constants, and how many of its inputs are the same in all steps and how many are handed on."""
    body = params["jaxpr"]
    if "ft_in" in params:  # from JAX 0.11 on
        shared, carry, _ = (len(list(part.vals)) for part in params["ft_in"].unpack())
    else:
        shared, carry = params["num_consts"], params["num_carry"]
    return getattr(body, "jaxpr", body), getattr(body, "consts", ()), shared, carry
