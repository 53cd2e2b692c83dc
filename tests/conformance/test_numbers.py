"""The preset ``dreamerv3`` computes the reference's numbers: filtering, imagination, losses, gradients, updates.

Everything within 1e-5 of the greatest number of its array; norms, losses and parameters by each number.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from fnmatch import fnmatchcase

import numpy as np
import pytest

from tests.conformance import ours, reference

# LaProp divides a gradient that is nearly 0 by its own size, so changes of parameters round more.
TOLERANCE = {"updates/change_norm/*": 1e-4, "*": 1e-5}

INPUTS = ("param/*", "slow/*", "batch/*", "noise/*", "names", "warm/percentiles_before", "updates/count", "*_names")
ELSEWHERE = ("init/*", "count/*")  # test_networks.py
# What we have no function for, and why.
NOT_COMPARED = {
    "*/logit_raw": "is compared after the uniform share, as `post/logp` and `prior/logp`",
    "enc/tokens": "is compared as `embed`, behind the layer that reads it",
    "loss_by_step/rec": "is compared in their weighted sum, `loss_by_step/world_model`",
    "loss_by_step/rew": "likewise",
    "loss_by_step/con": "likewise",
    "loss_by_step/dyn": "likewise",
    "loss_by_step/rep": "likewise",
    "loss_by_step/policy": "our losses on rollouts are means",
    "loss_by_step/value": "likewise",
    "loss_by_step/repval": "likewise",
}

compute = functools.cache(ours.compute)


@pytest.fixture(scope="module", params=reference.KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def matching(names: Iterable[str], *patterns: str) -> list[str]:
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def tolerance(entry: str) -> float:
    return next(limit for pattern, limit in TOLERANCE.items() if fnmatchcase(entry, pattern))


def assert_agree(kind: str, *patterns: str) -> None:
    """All entries that the patterns match agree."""
    case = compute(kind)
    found = {name: reference.error(name, case.ours[name], case.golden[name]) for name in matching(case.ours, *patterns)}
    assert found
    assert {name: error for name, error in found.items() if not error <= tolerance(name)} == {}


def test_every_golden_number_is_accounted_for(kind: str) -> None:
    """Every entry of the files is an input, computed by us, tested in ``test_networks``, or listed with a reason."""
    case = compute(kind)
    known = {*case.ours, *matching(case.golden, *INPUTS, *ELSEWHERE, *NOT_COMPARED)}
    assert set(case.golden) - known == set()
    assert set(case.ours) - set(case.golden) == set()


def test_filtering_and_heads(kind: str) -> None:
    """Posterior states and their distributions, priors, KL, predictions.

    The window begins inside an episode, and holds a termination, a time limit and resets.
    """
    assert_agree(kind, "post/*", "prior/*", "kl", "embed", "decoded", "reward_pred", "cont_pred")


def test_imagination(kind: str) -> None:
    """Imagined features, actions, rewards, continuation, values, policies and entropies; returns, weights, advantages;
    the returns along replayed steps, and the percentiles."""
    assert_agree(kind, "imag/*", "replay/*", "percentiles/*")


def test_losses(kind: str) -> None:
    """All losses, those of the world model also by step."""
    assert_agree(kind, "loss/*", "loss_by_step/*")


def test_gradients(kind: str) -> None:
    """Norms by tensor and four whole gradients; the same where the values of replayed steps do not reach the world model,
    and where percentiles begin warm."""
    assert_agree(kind, "grad/*", "repval_stopped/*", "warm/*")


def test_updates(kind: str) -> None:
    """Parameters, slow critic, losses and percentiles over twenty updates."""
    assert_agree(kind, "updates/*")


def test_the_mapping_of_parameters_has_an_inverse(kind: str) -> None:
    """Tensors of the reference come back from our tree as they were; gradients pass this way."""
    given = reference.below(reference.load(kind), "param/")
    back = reference.to_reference(reference.to_ours(given), given)
    assert all(np.array_equal(back[name], given[name]) for name in given)
