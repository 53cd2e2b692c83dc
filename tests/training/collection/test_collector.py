"""What the collector stores, counts and saves."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.training.collection.collector import Collector, Policy, make_policy
from tests.helpers.fakes import FakeEnv, FakeReplay, counting_policy


def make(lengths: list[int], *, can_save: bool = True, keep_latents: bool = False, seed: int = 3):
    env, replay = FakeEnv(lengths, can_save=can_save), FakeReplay()
    collector = Collector(counting_policy(), env, replay, num_envs=len(lengths), seed=seed, keep_latents=keep_latents)
    return collector, env, replay


def steps(collector: Collector, count: int) -> None:
    for _ in range(count):
        collector.begin({})
        collector.finish()


def test_each_record_is_stored_with_the_action_chosen_from_it() -> None:
    collector, env, replay = make([3, 100])
    collector.start()
    steps(collector, 5)
    assert env.seeds == [3]
    # The terminal record is stored in addition, with a zero action, before the reset's.
    assert replay.stream(0) == [
        (0, True, False, 1), (1, False, False, 2), (2, False, False, 3), (3, False, True, 0),
        (0, True, False, 1), (1, False, False, 2),
    ]  # fmt: skip
    assert [row[0] for row in replay.stream(1)] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(np.stack(env.actions)[:, 0, 0], [1, 2, 3, 1, 2])


def test_the_action_is_zero_where_a_current_record_ends_its_episode() -> None:
    collector, env, replay = make([100])
    collector.start()
    assert collector._records is not None
    collector._records.is_last[:] = True  # as under NEXT_STEP
    steps(collector, 1)
    assert replay.stream(0)[0] == (0, True, True, 0)
    assert env.actions[0][0, 0] == 0


def test_steps_count_every_environment() -> None:
    collector, _, _ = make([3, 100, 7])
    collector.start()
    steps(collector, 4)
    assert collector.step == 12


def test_latents_are_stored_only_where_asked() -> None:
    for keep in (False, True):
        collector, _, replay = make([2], keep_latents=keep)
        collector.start()
        steps(collector, 3)
        latents = [entry[2] for entry in replay.added]
        if keep:
            # The terminal record was never acted from: it has none.
            assert [None if x is None else float(x.deter[0, 0]) for x in latents] == [0, 1, None, 0]
        else:
            assert latents == [None] * 4


def test_episode_means_are_of_those_since_the_last_line() -> None:
    collector, _, _ = make([2, 4])
    collector.start()
    steps(collector, 4)
    expected = {"episode/return": (2 + 2 + 4) / 3, "episode/length": (2 + 2 + 4) / 3}
    assert collector.peek_episodes() == expected
    assert collector.pop_episodes() == expected
    assert collector.pop_episodes() == {}


def test_lent_environments_are_where_they_were_or_begin_anew() -> None:
    for can_save in (True, False):
        collector, env, replay = make([100, 100], can_save=can_save)
        collector.start()
        steps(collector, 3)
        with collector.lend() as lent:
            assert lent is env
            lent.reset(77)
            lent.step(np.zeros((2, 1), np.int32))
        steps(collector, 2)
        rows = [row[:3] for row in replay.stream(0)]
        before = [(0, True, False), (1, False, False), (2, False, False)]
        after = (
            [(3, False, False), (4, False, False)]
            if can_save
            else [(3, False, True), (0, True, False), (1, False, False)]
        )
        assert rows == before + after
        assert collector.step == 10


def test_a_loaded_collector_goes_on_where_the_saved_one_was() -> None:
    whole, _, whole_replay = make([3, 5])
    whole.start()
    steps(whole, 4)
    state = whole.state_dict()
    whole_replay.added.clear()
    steps(whole, 6)

    loaded, _, replay = make([3, 5])
    assert loaded.load_state_dict(state) is True
    steps(loaded, 6)
    for env in (0, 1):
        assert replay.stream(env) == whole_replay.stream(env)
    assert loaded.step == whole.step
    assert loaded.pop_episodes() == whole.pop_episodes()


def test_environments_without_a_state_begin_anew_and_the_cut_is_stored() -> None:
    saved, _, _ = make([100, 100], can_save=False)
    saved.start()
    steps(saved, 3)
    loaded, env, replay = make([100, 100], can_save=False)
    assert loaded.load_state_dict(saved.state_dict()) is False
    steps(loaded, 1)
    for i in (0, 1):
        assert replay.stream(i) == [(3, False, True, 0), (0, True, False, 1)]
    assert not replay.added[0][0].is_terminal.any()
    assert env.seeds != [3]  # not the first episodes over again


def test_saving_does_not_share_memory_with_what_goes_on() -> None:
    collector, _, _ = make([2, 4])
    collector.start()
    steps(collector, 2)
    state = collector.state_dict()
    before = jax.tree.map(np.copy, state["records"]), dict(state["episodes"]), list(state["episodes"]["return"])
    steps(collector, 6)
    chex.assert_trees_all_equal(state["records"], before[0])
    assert state["episodes"]["return"] == before[2]


def keyed_policy() -> Policy:
    def policy_fn(params, carry, obs, is_first, keys, *, greedy):
        bits = jax.vmap(lambda key: jax.random.bits(key, (1,)))(keys)
        return carry, jnp.zeros_like(bits) if greedy else bits, None

    return make_policy(policy_fn, lambda num_envs: jnp.zeros(num_envs))


def test_rows_act_with_keys_of_their_own_by_step_and_row() -> None:
    policy, key = keyed_policy(), jax.random.key(0)

    def bits(step: int, num: int, greedy: bool = False) -> np.ndarray:
        carry = policy.initial_carry(num)
        return np.asarray(
            policy.act({}, carry, {}, np.zeros(num, bool), key, np.uint32(step), greedy=greedy)[1]
        ).reshape(-1)

    drawn = np.concatenate([bits(step, 4) for step in range(3)])
    assert len(set(drawn.tolist())) == 12
    np.testing.assert_array_equal(bits(1, 4), bits(1, 4))
    np.testing.assert_array_equal(bits(1, 2), bits(1, 4)[:2])  # by row, not by how many there are
    assert not bits(1, 4, greedy=True).any()
