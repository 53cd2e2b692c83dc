"""The preset ``dreamerv3`` computes the reference's numbers: filtering, imagination, losses, gradients, updates.

The rows named in the docstrings are those of the last table of the README beside this file.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from fnmatch import fnmatchcase

import numpy as np
import pytest

from tests.conformance import ours, reference
from tests.conformance.differences import DIFFERENCES, NOT_COMPARED, difference

# LaProp divides a gradient that is nearly 0 by its own size, so changes of parameters round more.
TOLERANCE = {"updates/change_norm/*": 1e-4, "*": 1e-5}

INPUTS = ("param/*", "slow/*", "batch/*", "noise/*", "names", "warm/percentiles_before", "updates/count", "*_names")
ELSEWHERE = ("init/*", "count/*")  # test_networks.py

compute = functools.cache(ours.compute)


@pytest.fixture(scope="module", params=reference.KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def matching(names: Iterable[str], *patterns: str) -> list[str]:
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def tolerance(entry: str) -> float:
    return next(limit for pattern, limit in TOLERANCE.items() if fnmatchcase(entry, pattern))


def errors(kind: str, *patterns: str) -> dict[str, float]:
    """The error of every entry that we compute and the patterns match."""
    case = compute(kind)
    return {name: reference.error(name, case.ours[name], case.golden[name]) for name in matching(case.ours, *patterns)}


def assert_agree(kind: str, *patterns: str) -> None:
    """All entries that the patterns match agree, but for those in the table of differences."""
    found = {name: error for name, error in errors(kind, *patterns).items() if difference(name, kind) is None}
    assert found
    assert {name: error for name, error in found.items() if not error <= tolerance(name)} == {}


def test_every_golden_number_is_accounted_for(kind: str) -> None:
    """Every entry of the files is an input, computed by us, tested in ``test_networks``, or listed with a reason."""
    case = compute(kind)
    known = {*case.ours, *matching(case.golden, *INPUTS, *ELSEWHERE, *NOT_COMPARED)}
    assert set(case.golden) - known == set()
    assert set(case.ours) - set(case.golden) == set()


def test_filtering_and_heads(kind: str) -> None:
    """Of the row "filtering, heads, KL; ...": posterior states and their distributions, priors, KL, predictions.

    The window begins inside an episode, and holds a termination, a time limit and resets.
    """
    assert_agree(kind, "post/*", "prior/*", "kl", "embed", "decoded", "reward_pred", "cont_pred")


def test_imagination(kind: str) -> None:
    """Of the row "...; imagined features, actions, rewards, values, policies, entropies; ..."."""
    assert_agree(kind, "imag/*")


def test_losses(kind: str) -> None:
    """Of the row "...; losses rec, rew, con, dyn, rep; ...", also by step; ``loss/repval`` where actions are
    continuous."""
    assert_agree(kind, "loss/*", "loss_by_step/*")


def test_gradients(kind: str) -> None:
    """Of the row "...; gradients of ``dec``, ``rew``, ``con``; ...", by tensor, and those of the prior's layers.

    Of the row of ``enc`` and ``dyn``: they equal the reference's with its switch ``repval_grad: False``, so that
    difference 6 is all that divides them. Percentiles that begin warm move as the reference's.
    """
    assert_agree(kind, "grad/*", "repval_stopped/*", "warm/*")


def test_updates(kind: str) -> None:
    """Of the row "...; parameters after 1 update; ...", and what differences have not reached yet: losses of the world
    model in updates 1 and 2, parameters of ``dec``, ``rew``, ``con`` and the slow critic after 2."""
    assert_agree(kind, "updates/*")


@pytest.mark.parametrize("pattern", [pattern for pattern in DIFFERENCES if not matching([pattern], *ELSEWHERE)])
def test_what_differs_still_does(kind: str, pattern: str) -> None:
    """The other rows, one by one: entries in the table of differences that agree by now must leave it."""
    found = errors(kind, pattern)
    assert found, "no entry has this name"
    if getattr(DIFFERENCES[pattern], kind) is not None:
        assert {name: error for name, error in found.items() if error <= tolerance(name)} == {}


def test_the_mapping_of_parameters_has_an_inverse(kind: str) -> None:
    """Tensors of the reference come back from our tree as they were (no row of the table; gradients pass this way)."""
    given = reference.below(reference.load(kind), "param/")
    back = reference.to_reference(reference.to_ours(given), given)
    assert all(np.array_equal(back[name], given[name]) for name in given)
