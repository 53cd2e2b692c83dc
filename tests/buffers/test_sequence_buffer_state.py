"""The saved state of a sequence buffer restores it bit for bit, as a whole or in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dreamjax.buffers.sequence_buffer import SequenceBuffer
from tests.helpers.replay import LATENTS, make_buffer, make_latents, make_records

SAMPLERS = {
    "uniform": {},
    "prioritized": {"sampler": "prioritized"},
    "even": {"sampler": "prioritized", "uniform_fraction": 0.5},
    "online": {"online": 0.5},
    "online prioritized": {"online": 0.25, "sampler": "prioritized", "priority_exponent": 0.7},
}


def run(buffer: SequenceBuffer, rng: np.random.Generator, steps: int) -> list[Any]:
    """Adds, samples and updates; what came out, for comparison."""
    seen: list[Any] = []
    for i in range(steps):
        env = [0, 1, 2] if i % 2 else [2, 0]
        buffer.add(*make_records(env, rng), make_latents((len(env),), rng))
        if i % 3 == 0 and buffer.num_windows(5):
            batch, indices = buffer.sample(4, 5)
            seen += [batch, indices]
            priority = rng.random((4, 5)).astype(np.float32)
            buffer.update(indices, priority=priority, latents=make_latents((4, 5), rng))
    return seen


def assert_same(a: Any, b: Any) -> None:
    """Bit-equal trees of arrays, dtypes included."""
    if hasattr(a, "__dict__"):
        a, b = vars(a), vars(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        a, b = list(a.values()), [b[key] for key in a]
    if isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        np.testing.assert_array_equal(a, b, strict=isinstance(a, np.ndarray))


@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize("steps", [4, 13, 40])
def test_a_restored_buffer_continues_bit_for_bit(kind: str, steps: int) -> None:
    def fresh(seed: int) -> SequenceBuffer:
        return make_buffer(47, 3, seed=seed, latent_spec=LATENTS, **SAMPLERS[kind])

    buffer, rng = fresh(0), np.random.default_rng(1)
    run(buffer, rng, steps)
    state = buffer.state_dict()
    assert all(type(value) is np.ndarray and value.dtype.kind in "iuf" for value in state.values())
    frozen = {key: value.copy() for key, value in state.items()}
    expected = run(buffer, np.random.default_rng(2), 30)
    assert_same(state, frozen)  # the state is a copy
    restored = fresh(9)
    restored.load_state_dict(state)
    assert_same(restored.state_dict(), state)
    assert_same(run(restored, np.random.default_rng(2), 30), expected)
    assert_same(restored.state_dict(), buffer.state_dict())
    assert_same(state, frozen)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_a_chain_of_partial_states_equals_one_whole_state(kind: str) -> None:
    buffer, rng = make_buffer(47, 3, latent_spec=LATENTS, **SAMPLERS[kind]), np.random.default_rng(1)
    chain, since = [], None
    for steps in (3, 8, 1, 30, 2):  # one of them laps the ring
        run(buffer, rng, steps)
        chain.append(buffer.state_dict(since))
        since = chain[-1]["head"]
    assert len(chain[2]["reward/rows"]) == 2 and len(chain[-1]["reward/rows"]) == 5  # new steps only
    restored = make_buffer(47, 3, latent_spec=LATENTS, **SAMPLERS[kind])
    for state in chain:
        restored.load_state_dict(state)
    assert_same(restored.state_dict(), buffer.state_dict())
    with pytest.raises(ValueError, match="saved replay starts at steps"):
        make_buffer(47, 3, latent_spec=LATENTS, **SAMPLERS[kind]).load_state_dict(chain[-1])


def test_a_state_of_another_buffer_is_refused() -> None:
    state = make_buffer(40, 2).state_dict()
    for other in (make_buffer(40, 4), make_buffer(42, 2)):
        with pytest.raises(ValueError, match="saved replay has 2 environments of 20 steps"):
            other.load_state_dict(state)
