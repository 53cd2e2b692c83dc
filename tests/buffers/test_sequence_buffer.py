"""Windows against a brute-force model of the streams; errors, memory and speed."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamjax.buffers.sequence_buffer import Indices, greatest_after, nbytes_for
from dreamjax.types import ActionPart, ActionSpec, Batch, EnvSpec, ObsSpec, Records, RSSMState
from tests.helpers.replay import LATENTS, SPEC, make_buffer, make_latents, make_records


class Model:
    """All steps ever written, one Python list for each environment."""

    def __init__(self, capacity: int, num_envs: int) -> None:
        self.size = capacity // num_envs
        self.streams: list[list[dict[str, Any]]] = [[] for _ in range(num_envs)]

    def add(self, records: Records, action: np.ndarray, latents: RSSMState | None = None) -> None:
        for i, env in enumerate(records.env):
            step = {name: value[i] for name, value in records.obs.items()}
            step |= {name: getattr(records, name)[i] for name in ("reward", "is_first", "is_last", "is_terminal")}
            step |= {"action": action[i], "latent": None}
            if latents is not None:
                step["latent"] = (latents.deter[i], latents.stoch[i])
            self.streams[env].append(step)

    def oldest(self, env: int) -> int:
        return max(0, len(self.streams[env]) - self.size)

    def starts(self, length: int) -> set[tuple[int, int]]:
        return {
            (env, start)
            for env, stream in enumerate(self.streams)
            for start in range(self.oldest(env), len(stream) - length + 1)
        }

    def check(self, batch: Batch, indices: Indices, keep_latents: bool) -> None:
        """Every number of a batch is the one of the model's stream."""
        allowed = self.starts(indices.length)
        for b, (env, start) in enumerate(zip(indices.env.tolist(), indices.start.tolist(), strict=True)):
            assert (env, start) in allowed
            window = self.streams[env][start : start + indices.length]
            for name in ("reward", "is_first", "is_last", "is_terminal", "action"):
                np.testing.assert_array_equal(getattr(batch, name)[b], np.stack([step[name] for step in window]))
            for name in SPEC.obs:
                np.testing.assert_array_equal(batch.obs[name][b], np.stack([step[name] for step in window]))
            before = self.streams[env][start - 1] if start > self.oldest(env) and not window[0]["is_first"] else None
            np.testing.assert_array_equal(batch.prev_action[b], before["action"] if before else 0)
            if keep_latents:
                assert batch.context is not None
                deter, stoch = (before and before["latent"]) or (0, 0)
                np.testing.assert_array_equal(batch.context.deter[b], deter)
                np.testing.assert_array_equal(batch.context.stoch[b], stoch)
            else:
                assert batch.context is None


@settings(max_examples=150, deadline=None)
@given(
    num_envs=st.integers(1, 3),
    size=st.integers(1, 9),
    spare=st.integers(0, 2),
    length=st.integers(1, 9),
    adds=st.lists(st.sets(st.integers(0, 2), min_size=1), min_size=5, max_size=40),
    keep_latents=st.booleans(),
    sampler=st.sampled_from([{}, {"sampler": "prioritized"}, {"online": 0.5}]),
    seed=st.integers(0, 99),
)
def test_windows_equal_a_brute_force_model(
    num_envs: int,
    size: int,
    spare: int,
    length: int,
    adds: list[set[int]],
    keep_latents: bool,
    sampler: dict[str, Any],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    capacity = size * num_envs + min(spare, num_envs - 1)
    buffer = make_buffer(capacity, num_envs, latent_spec=LATENTS if keep_latents else None, **sampler)
    model = Model(capacity, num_envs)
    for chosen in adds:
        env = [int(e) for e in rng.permutation(sorted(chosen)) if e < num_envs]
        records, action = make_records(env, rng)
        latents = make_latents((len(env),), rng) if rng.random() < 0.7 else None
        buffer.add(records, action, latents)
        model.add(records, action, latents)
        assert len(buffer) == sum(min(len(stream), size) for stream in model.streams)
        assert buffer.num_windows(length) == len(model.starts(length)) * (length <= size)
        if model.starts(length) and length <= size and rng.random() < 0.3:
            batch, indices = buffer.sample(5, length)
            model.check(batch, indices, keep_latents)
            if rng.random() < 0.5:
                fresh = make_latents((5, length), rng)
                buffer.update(indices, priority=rng.random((5, length)).astype(np.float32), latents=fresh)
                for b in range(5):
                    for t in range(length):
                        step = model.streams[indices.env[b]][indices.start[b] + t]
                        step["latent"] = (fresh.deter[b, t], fresh.stoch[b, t])


@pytest.mark.parametrize("written", [11, 12, 13, 23, 24, 25, 31])
def test_reachable_starts_are_exactly_the_valid_ones_around_the_wrap(written: int) -> None:
    """capacity-1, capacity, capacity+1 steps; every valid start is drawn and no other."""
    rng, buffer, model = np.random.default_rng(0), make_buffer(24, 2), Model(24, 2)
    for i in range(written):
        env = [0, 1] if i % 3 else [1]  # stream 1 runs ahead
        records, action = make_records(env, rng)
        buffer.add(records, action)
        model.add(records, action)
    for length in (1, 4, 12):
        if model.starts(length):
            model.check(*buffer.sample(50, length), False)
            _, indices = buffer.sample(1500, length)
            assert set(zip(indices.env.tolist(), indices.start.tolist(), strict=True)) == model.starts(length)


def test_uniform_over_all_valid_starts_of_unequal_streams() -> None:
    rng, buffer = np.random.default_rng(0), make_buffer(60, 3, seed=5)
    for env, steps in enumerate((33, 9, 16)):  # wrapped, short, in between
        for _ in range(steps):
            buffer.add(*make_records([env], rng))
    draws = 20_000
    _, indices = buffer.sample(draws, 6)
    starts, count = np.unique(np.stack([indices.env, indices.start]), axis=1, return_counts=True)
    cells = (20 - 5) + (9 - 5) + (16 - 5)
    assert starts.shape[1] == cells == buffer.num_windows(6)
    chi2 = ((count - draws / cells) ** 2 / (draws / cells)).sum()
    assert chi2 < cells - 1 + 4 * np.sqrt(2 * (cells - 1))


def test_short_episodes_are_reached_from_their_first_step() -> None:
    """Episodes of 3 steps in windows of 8: some windows begin at each kind of step, and resets lie inside."""
    rng, buffer = np.random.default_rng(0), make_buffer(40, 1)
    for i in range(40):
        records, action = make_records([0], rng)
        records.is_first, records.is_last = np.array([i % 3 == 0]), np.array([i % 3 == 2])
        buffer.add(records, action)
    batch, _ = buffer.sample(200, 8)
    assert {tuple(np.flatnonzero(row)) for row in batch.is_first} == {(0, 3, 6), (1, 4, 7), (2, 5)}


def test_batch_has_the_promised_dtypes() -> None:
    rng, buffer = np.random.default_rng(0), make_buffer(40, 2, latent_spec=LATENTS)
    for _ in range(20):
        buffer.add(*make_records([0, 1], rng), make_latents((2,), rng))
    batch, indices = buffer.sample(3, 4)
    assert {name: (v.dtype, v.shape) for name, v in batch.obs.items()} == {
        name: (np.dtype(entry.dtype), (3, 4, *entry.shape)) for name, entry in SPEC.obs.items()
    }
    assert (batch.action.dtype, batch.action.shape, batch.prev_action.shape) == (np.int32, (3, 4, 3), (3, 3))
    assert batch.reward.dtype == np.float32
    assert batch.is_first.dtype == batch.is_last.dtype == batch.is_terminal.dtype == bool
    np.testing.assert_array_equal(batch.row, np.arange(3, dtype=np.int32), strict=True)
    assert batch.context is not None and batch.context.stoch.shape == (3, 2, 3)
    assert indices.env.dtype == indices.start.dtype == np.int64


def test_update_skips_steps_overwritten_since_sampling() -> None:
    rng, buffer, model = np.random.default_rng(0), make_buffer(8, 1, latent_spec=LATENTS), Model(8, 1)

    def add(count: int) -> None:
        for _ in range(count):
            records, action = make_records([0], rng)
            records.is_first[:] = False
            latents = make_latents((1,), rng)
            buffer.add(records, action, latents)
            model.add(records, action, latents)

    add(8)
    _, indices = buffer.sample(1, 6)
    indices = indices._replace(start=np.array([1]))
    add(3)  # steps 0, 1 and 2 are gone; 8, 9 and 10 lie in their places
    fresh = make_latents((1, 6), rng)
    buffer.update(indices, priority=None, latents=fresh)
    for step in range(3, 7):
        model.streams[0][step]["latent"] = (fresh.deter[0, step - 1], fresh.stoch[0, step - 1])
    model.check(*buffer.sample(100, 1), True)


def test_priorities_of_overwritten_steps_are_skipped() -> None:
    rng, buffer = np.random.default_rng(0), make_buffer(8, 1, sampler="prioritized", priority_exponent=1.0)
    for _ in range(8):
        buffer.add(*make_records([0], rng))
    _, indices = buffer.sample(2, 6)
    for _ in range(3):
        buffer.add(*make_records([0], rng))
    indices = indices._replace(start=np.array([1, 2]))
    buffer.update(indices, priority=np.arange(13, 1, -1, dtype=np.float32).reshape(2, 6), latents=None)
    buffer.sample(1, 6)
    # Steps 8, 9, 10 lie where 0, 1, 2 did, as likely as the starts before; 3 to 7 have the last row's, of the step after.
    np.testing.assert_array_equal(buffer.sampler.state_dict()["mass"], [1, 1, 1, 5, 4, 3, 2, 2])


def test_a_start_has_the_greatest_priority_of_what_follows_it() -> None:
    priority = np.array([[9, 1, 5, 2], [1, 2, 3, 4], [4, 3, 2, 1]], np.float32)
    np.testing.assert_array_equal(greatest_after(priority), [[5, 5, 2, 2], [4, 4, 4, 4], [3, 2, 1, 1]])
    np.testing.assert_array_equal(greatest_after(priority[:, :1]), priority[:, :1])


def test_errors_name_what_is_wrong_and_store_nothing() -> None:
    rng, buffer = np.random.default_rng(0), make_buffer(20, 2)
    records, action = make_records([0, 1], rng)
    with pytest.raises(ValueError, match=r"capacity=1 must be at least num_envs=2"):
        make_buffer(1, 2)
    with pytest.raises(ValueError, match="no window of 4 steps yet: the longest stream has 0"):
        buffer.sample(1, 4)
    with pytest.raises(ValueError, match=r"length=11 must lie in \[1, 10\]"):
        buffer.sample(1, 11)
    for env in ([0, 0], [0, 2], [-1, 0]):
        with pytest.raises(ValueError, match="env must be distinct numbers"):
            buffer.add(make_records(env, rng)[0], action)
    with pytest.raises(ValueError, match="action: values must lie in"):
        buffer.add(records, action + 5)
    with pytest.raises(ValueError, match="action: 2 rows expected, got 1"):
        buffer.add(records, action[:1])
    bad, _ = make_records([0, 1], rng)
    bad.obs["board"] = bad.obs["board"][:, :1]
    with pytest.raises(ValueError, match="obs/board: records of shape"):
        buffer.add(bad, action)
    del bad.obs["board"]
    with pytest.raises(ValueError, match=r"observations .* expected, got"):
        buffer.add(bad, action)
    assert len(buffer) == 0
    for _ in range(5):
        buffer.add(records, action)
    _, indices = buffer.sample(2, 3)
    with pytest.raises(ValueError, match=r"priority of shape \(2, 3\)"):
        buffer.update(indices, priority=np.zeros((2, 2), np.float32))


# Memory and speed.


def tetris(mask: bool) -> EnvSpec:
    obs = {"board": ObsSpec("grid", (2, 20, 10), "uint8", 2), "piece": ObsSpec("vector", (32,), "float32")}
    if mask:
        obs["action_mask"] = ObsSpec("mask", (200,), "int8")
        return EnvSpec(obs, ActionSpec((ActionPart("categorical", 200, masked=True),)))
    return EnvSpec(obs, ActionSpec((ActionPart("binary", 8),)))


@pytest.mark.parametrize("mask", [False, True])
def test_a_million_tetris_steps_take_less_than_200_mb(mask: bool) -> None:
    spec = tetris(mask)
    assert nbytes_for(spec, 1_000_000, num_envs=16) < 150e6
    buffer, rng = make_buffer(16_000, 16, spec=spec), np.random.default_rng(0)
    for _ in range(20):
        buffer.add(*make_records(list(range(16)), rng, spec))
    assert nbytes_for(spec, 16_000, num_envs=16) <= buffer.nbytes < nbytes_for(spec, 16_000, num_envs=16) + 1e4
    assert nbytes_for(spec, 1000, promoted=True) - nbytes_for(spec, 1000) == 1000 * 64


def test_sampling_tetris_is_vectorized() -> None:
    """A batch of 16 x 64 takes some 0.3 ms; a Python loop over steps would take 30."""
    buffer, rng = make_buffer(20_000, 16, spec=tetris(True)), np.random.default_rng(0)
    for _ in range(200):
        buffer.add(*make_records(list(range(16)), rng, tetris(True)))
    times = []
    for _ in range(20):
        begin = time.perf_counter()
        buffer.sample(16, 64)
        times.append(time.perf_counter() - begin)
    assert min(times) < 2e-3
