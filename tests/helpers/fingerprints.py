"""Which outputs of a function a change of its making reaches: each output's computation, hashed without running it.

A traced function is walked once as if it ran, with hashes in place of numbers: a variable's is that of its primitive,
parameters and inputs. Calls are entered and scans unrolled, so two outputs have one fingerprint exactly if the same
operations on the same inputs make them, however the rest of the function differs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax

from tests.helpers.jaxprs import parts_of

CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def fingerprints(fn: Callable[..., Any], *args: Any) -> dict[str, int]:
    """Fingerprint of each output leaf of ``fn(*args)`` by its path; of ``args`` only paths, shapes and dtypes count."""
    closed, shape = jax.make_jaxpr(fn, return_shape=True)(*args)
    inputs = [hash(jax.tree_util.keystr(path)) for path, _ in jax.tree_util.tree_leaves_with_path(args)]
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(shape)]
    return dict(zip(paths, _walk(closed.jaxpr, closed.consts, inputs, {}), strict=True))


def _walk(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[int], texts: dict[int, str]) -> list[int]:
    known = dict(zip(jaxpr.constvars, (hash(repr(const)) for const in consts), strict=True))
    known |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(var: Any) -> int:
        return hash((repr(var.val), str(var.aval))) if hasattr(var, "val") else known[var]

    for eqn in jaxpr.eqns:
        values = [read(var) for var in eqn.invars]
        inner = next((eqn.params[name] for name in CALLS if name in eqn.params), None)
        if eqn.primitive.name == "scan":
            results = _scan(eqn.params, values, texts)
        elif inner is not None:
            results = _walk(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), values, texts)
        else:
            if id(eqn) not in texts:
                texts[id(eqn)] = ADDRESS.sub("", f"{eqn.primitive.name} {sorted(eqn.params.items())}")
            whole = hash((texts[id(eqn)], *values))
            results = [hash((whole, i)) for i in range(len(eqn.outvars))]
        known |= dict(zip(eqn.outvars, results, strict=True))
    return [read(var) for var in jaxpr.outvars]


def _scan(params: dict[str, Any], values: list[int], texts: dict[int, str]) -> list[int]:
    body, captured, num_consts, num_carry = parts_of(params)
    split = num_consts + num_carry
    consts, carry, xs = values[:num_consts], values[num_consts:split], values[split:]
    ys = []
    for t in sorted(range(params["length"]), reverse=params["reverse"]):
        out = _walk(body, captured, [*consts, *carry, *(hash((x, t)) for x in xs)], texts)
        carry = out[: len(carry)]
        ys.append(out[len(carry) :])
    return [*carry, *(hash(y) for y in zip(*ys, strict=True))]
