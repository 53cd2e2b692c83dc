"""Samplers: which starts they draw, how often, and which only once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamjax.buffers import samplers
from dreamjax.config import ReplayConfig


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def heads(*head: int) -> np.ndarray:
    return np.array(head, np.int64)


def chi2_small(count: np.ndarray, weight: np.ndarray) -> bool:
    """Whether counts agree with weights, four standard deviations of chi-square allowed."""
    expected = weight / weight.sum() * count.sum()
    cells = len(count) - 1
    return float(((count - expected) ** 2 / expected).sum()) < cells + 4 * np.sqrt(2 * cells)


def test_expand_ranges() -> None:
    env, step = samplers.expand_ranges(heads(3, 5, 9), heads(6, 4, 11))
    assert list(zip(env.tolist(), step.tolist(), strict=True)) == [(0, 3), (0, 4), (0, 5), (2, 9), (2, 10)]


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({}, samplers.UniformSampler),
        ({"sampler": "prioritized"}, samplers.PrioritizedSampler),
        ({"online": 0.5}, samplers.OnlineQueue),
    ],
)
def test_make_sampler(config: dict, kind: type) -> None:
    sampler = samplers.make_sampler(ReplayConfig(capacity=100, min_size=1, **config), num_envs=3)
    assert type(sampler) is kind
    assert getattr(sampler, "size", None) == 33


# Sum tree.


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 33), writes=st.integers(0, 6), seed=st.integers(0, 99))
def test_sum_tree_equals_cumulative_sums(size: int, writes: int, seed: int) -> None:
    rng = generator(seed)
    tree, leaves = samplers.SumTree(size), np.zeros(size)
    for _ in range(writes):
        place = rng.integers(size, size=rng.integers(1, 8))
        value = rng.integers(0, 5, len(place)).astype(float)
        tree.set(place, value)
        for p, v in zip(place, value, strict=True):
            leaves[p] = v
        assert tree.total == leaves.sum()
    filled = samplers.SumTree(size)
    filled.fill(leaves)
    np.testing.assert_array_equal(filled.nodes, tree.nodes)
    if leaves.sum():
        mass = np.append(np.arange(leaves.sum()), np.nextafter(leaves.sum(), 0))
        np.testing.assert_array_equal(tree.find(mass), np.searchsorted(np.cumsum(leaves), mass, side="right"))
        assert leaves[tree.find(np.array([leaves.sum()]))[0]] > 0  # rounding up to the total


# Prioritized.


def test_prioritized_frequencies() -> None:
    """Priorities of 40 steps in two streams, one wrapped; frequencies follow p^0.7."""
    sampler = samplers.PrioritizedSampler(2, 20, exponent=0.7)
    head, length, rng = heads(27, 20), 4, generator()
    sampler.sample(rng, 1, length, head)
    env, step = samplers.expand_ranges(head - 20, head)
    priority = generator(1).uniform(0.1, 5, 40).astype(np.float32)
    sampler.update(env, step, priority)
    env_drawn, start = sampler.sample(rng, 40_000, length, head)
    valid = step + length <= head[env]
    keys = (env * 100 + step)[valid]
    drawn, count = np.unique(env_drawn * 100 + start, return_counts=True)
    np.testing.assert_array_equal(drawn, keys)
    weight = priority[valid].astype(float) ** 0.7
    assert chi2_small(count, weight)


def test_exponent_0_is_uniform() -> None:
    sampler = samplers.PrioritizedSampler(1, 20, exponent=0.0)
    sampler.sample(generator(), 1, 3, heads(20))
    sampler.update(np.zeros(20, int), np.arange(20), np.arange(20, dtype=np.float32))
    _, start = sampler.sample(generator(), 18_000, 3, heads(20))
    assert chi2_small(np.bincount(start, minlength=18), np.ones(18))


def test_new_steps_are_as_likely_as_the_mean_of_the_starts_before_them() -> None:
    sampler = samplers.PrioritizedSampler(1, 8, exponent=2.0)
    sampler.sample(generator(), 1, 3, heads(5))
    assert sampler.tree.total == 3  # starts 0, 1 and 2; 1 each before any is given
    sampler.update(np.zeros(5, int), np.arange(5), np.array([1, 2, 5, 9, 9], np.float32))
    sampler.sample(generator(), 1, 3, heads(7))
    # Steps 5 and 6 are new: (1 + 4 + 25) / 3; the starts 3 and 4 have become valid since.
    np.testing.assert_array_equal(sampler.state_dict()["mass"], [1, 4, 25, 81, 81, 10, 10, 0])
    np.testing.assert_array_equal(sampler.tree.nodes[8:], [1, 4, 25, 81, 81, 0, 0, 0])


def by_leaf(known: dict[tuple[int, int], float], low: np.ndarray, high: np.ndarray, size: int) -> np.ndarray:
    """The priorities of the valid starts of two rings, as leaves."""
    leaves = np.zeros(2 * size)
    for env, step in zip(*samplers.expand_ranges(low, high), strict=True):
        leaves[env * size + step % size] = known[env, step]
    return leaves


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 8),
    rounds=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 4)), min_size=1, max_size=8),
    seed=st.integers(0, 99),
)
def test_tree_holds_exactly_the_valid_starts_with_their_priorities(
    size: int, rounds: list[tuple[int, int, int]], seed: int
) -> None:
    """Against a dictionary, over growing heads, changing lengths and updates of anything stored."""
    rng = generator(seed)
    sampler = samplers.PrioritizedSampler(2, size, exponent=1.0)
    head, known, expected = heads(0, 0), {}, np.zeros(2 * size)
    valid = 0
    for first, second, length in rounds:
        length = min(length, size)
        mean = np.float32(expected.sum() / valid) if valid else np.float32(1)
        for env, grow in enumerate((first, second)):
            known |= {(env, step): mean for step in range(head[env], head[env] + grow)}
        head = head + [first, second]
        low, high = samplers.valid_range(head, size, length)
        if not (high - low).sum():
            head = head - [first, second]
            continue
        env, start = sampler.sample(rng, 3, length, head)
        assert ((low[env] <= start) & (start < high[env])).all()
        valid = (high - low).sum()
        expected = by_leaf(known, low, high, size)
        np.testing.assert_array_equal(sampler.tree.nodes[sampler.tree.base :][: 2 * size], expected)
        env, step = samplers.expand_ranges(low, head)
        chosen = rng.random(len(env)) < 0.5
        priority = rng.integers(1, 9, chosen.sum()).astype(np.float32) / 4
        sampler.update(env[chosen], step[chosen], priority)
        for e, s, p in zip(env[chosen], step[chosen], priority, strict=True):
            known[e, s] = p
        expected = by_leaf(known, low, high, size)


def test_priorities_that_are_not_numbers_are_refused_and_zeros_are_not_lost() -> None:
    sampler = samplers.PrioritizedSampler(1, 4, exponent=9.0)
    sampler.sample(generator(), 1, 1, heads(4))
    before = sampler.state_dict()
    for bad in (np.nan, np.inf, -1.0):
        with pytest.raises(ValueError, match="finite and at least 0"):
            sampler.update(np.zeros(2, int), np.array([0, 1]), np.array([1.0, bad], np.float32))
    for key, value in sampler.state_dict().items():
        np.testing.assert_array_equal(value, before[key])
    sampler.update(np.zeros(4, int), np.arange(4), np.zeros(4, np.float32))
    _, start = sampler.sample(generator(), 400, 1, heads(4))
    assert set(start.tolist()) == {0, 1, 2, 3}


# Online queue.


class Nothing(samplers.UniformSampler):
    """A base whose windows have environment -1, unlike those of the queue."""

    def sample(self, rng: np.random.Generator, batch_size: int, length: int, head: np.ndarray) -> samplers.Draw:
        return np.full(batch_size, -1), np.zeros(batch_size, np.int64)


def make_queue(num_envs: int, size: int, fraction: float, context: int) -> samplers.OnlineQueue:
    return samplers.OnlineQueue(Nothing(num_envs, size), num_envs, size, fraction=fraction, context=context)


def draw(queue: samplers.OnlineQueue, head: np.ndarray, length: int) -> list[tuple[int, int]]:
    """The windows of a batch of 8 that are the queue's."""
    env, start = queue.sample(generator(), 8, length, head)
    assert len(env) == len(start) == 8
    return [(e, s) for e, s in zip(env.tolist(), start.tolist(), strict=True) if e >= 0]


def test_online_windows_come_oldest_first_and_each_once() -> None:
    """With the step before them, from step 1 on: steps 1 to 6 and 7 to 12 are the first two windows of 5."""
    queue = make_queue(2, 100, 1.0, context=1)
    assert draw(queue, heads(6, 1), 5) == []
    head = heads(17, 9)
    taken = draw(queue, head, 5)
    assert taken == [(0, 2), (0, 8), (1, 2)]  # by their distance from the write head
    for i in range(60):
        head = head + [i % 3, 1]
        taken += draw(queue, head, 5)
    assert sorted(taken) == [(e, s) for e in (0, 1) for s in range(2, head[e] - 4, 6)]


def test_online_windows_of_the_reference() -> None:
    """Its replay of 65 steps queues the item that begins at step n - 64 with step n = 65, 130, ...: windows of 64 behind
    one step of context, the next batch's first rows."""
    queue, taken = make_queue(16, 1000, 1.0, context=1), []
    for steps in range(1, 200):
        found = draw(queue, np.full(16, steps), 64) + draw(queue, np.full(16, steps), 64)
        taken += [(steps - 1, window) for window in found]
    expected = [(n, (env, n - 64 + 1)) for n in (65, 130, 195) for env in range(16)]
    assert taken == expected


def test_make_sampler_leaves_a_step_of_context_only_where_latents_are_kept() -> None:
    for keep, starts in ((False, [(0, 1), (0, 5)]), (True, [(0, 2), (0, 7)])):
        config = ReplayConfig(capacity=20, min_size=1, online=0.25, keep_latents=keep)
        assert draw(samplers.make_sampler(config, num_envs=1), heads(12), 4)[:2] == starts


def test_online_fraction_bounds_a_batch_and_a_backlog_waits_in_line() -> None:
    queue = make_queue(1, 40, 0.25, context=0)
    assert draw(queue, heads(40), 4) == [(0, 1), (0, 5)]
    assert len(queue.queue) == 7
    assert draw(queue, heads(44), 4) == [(0, 9), (0, 13)]
    assert draw(queue, heads(70), 4) == [(0, 33), (0, 37)]  # steps 0 .. 29 are overwritten
    np.testing.assert_array_equal(queue.queue[:, 1], [41, 45, 49, 53, 57, 61, 65])


def test_online_drops_windows_that_are_overwritten_or_whose_context_is() -> None:
    queue = make_queue(1, 10, 0.0, context=1)
    draw(queue, heads(11), 4)
    np.testing.assert_array_equal(queue.queue[:, 1], [2, 7])
    draw(queue, heads(12), 4)
    np.testing.assert_array_equal(queue.queue[:, 1], [7])


def test_uniform_rows_of_a_mixture_are_fixed_and_uniform() -> None:
    config = ReplayConfig(capacity=40, min_size=1, sampler="prioritized", priority_exponent=1.0, uniform_fraction=0.25)
    np.testing.assert_array_equal(config.uniform_rows(8), [3, 7])
    np.testing.assert_array_equal(ReplayConfig(sampler="prioritized", uniform_fraction=0.5).uniform_rows(6), [1, 3, 5])
    sampler = samplers.make_sampler(config, num_envs=2)
    sampler.sample(generator(), 8, 5, heads(12, 20))
    priority = np.zeros(20, np.float32)
    priority[4] = 7
    sampler.update(np.ones(20, int), np.arange(20), priority)
    sampler.update(np.zeros(12, int), np.arange(12), np.zeros(12, np.float32))
    env, start = sampler.sample(generator(), 24_000, 5, heads(12, 20))
    env, start = env.reshape(-1, 4), start.reshape(-1, 4)
    assert (env[:, :3] == 1).mean() > 0.999 and (start[:, :3] == 4).mean() > 0.999
    drawn = np.bincount(env[:, 3] * 8 + start[:, 3], minlength=24)
    assert chi2_small(drawn, np.ones(24))  # 8 starts in one stream, 16 in the other


@pytest.mark.parametrize(
    "config",
    [{}, {"sampler": "prioritized"}, {"online": 0.3}, {"sampler": "prioritized", "uniform_fraction": 0.6}],
)
def test_the_same_state_draws_the_same_bit_for_bit(config: dict) -> None:
    def make() -> samplers.Sampler:
        return samplers.make_sampler(ReplayConfig(capacity=60, min_size=1, **config), num_envs=2)

    def use(sampler: samplers.Sampler, rng: np.random.Generator, low: int) -> list[np.ndarray]:
        drawn = []
        for i in range(low, low + 12):
            env, start = sampler.sample(rng, 5, 6, heads(3 * i, 2 * i))
            sampler.update(env, start, rng.random(5).astype(np.float32))
            drawn += [env, start]
        return drawn

    first, rng = make(), generator()
    use(first, rng, 4)
    second = make()
    second.load_state_dict(first.state_dict())
    again = generator()
    again.bit_generator.state = rng.bit_generator.state
    np.testing.assert_array_equal(use(second, again, 16), use(first, rng, 16))


def test_priorities_of_another_ring_are_refused() -> None:
    state = samplers.PrioritizedSampler(2, 5, exponent=1).state_dict()
    with pytest.raises(ValueError, match="saved priorities"):
        samplers.PrioritizedSampler(2, 6, exponent=1).load_state_dict(state)
