"""The world model's predictions are held against whole episodes, each step once."""

from __future__ import annotations

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.training.evaluation import model_evaluator
from dreamjax.training.evaluation.model_evaluator import CONTEXT, HORIZONS, evaluate_model, play, window_starts, windows
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec
from tests.helpers.fakes import FakeEnv, counting_policy

LENGTH = CONTEXT + max(HORIZONS)
SPEC = EnvSpec({"count": ObsSpec("grid", (1,), "float32", classes=99)}, ActionSpec((ActionPart("categorical", 5),)))


def played(lengths, episodes, env=None):
    env = env or FakeEnv(lengths)
    return play(counting_policy(), {}, env, num_envs=len(lengths), episodes=episodes, greedy=True, seed=4)


def test_episodes_are_whole_and_shared_out():
    env = FakeEnv([2, 5])
    episodes = played([2, 5], 3, env)
    assert env.seeds == [4]
    assert [episode.obs["count"][:, 0].tolist() for episode in episodes] == [[0, 1, 2], [0, 1, 2], [0, 1, 2, 3, 4, 5]]
    # The policy's actions, and none after the end.
    assert episodes[2].action[:, 0].tolist() == [1, 2, 3, 4, 1, 0]
    assert episodes[0].is_terminal.tolist() == [False, False, True]
    assert np.isnan(episodes[0].cleared).all()


class Breaking(FakeEnv):
    """The first episode breaks."""

    def _records(self, rows, first, last):
        records = super()._records(rows, first, last)
        self.ends = getattr(self, "ends", 0) + int(last.any())
        records.info["broken"] = np.where(last & (self.ends == 1), 1.0, 0.0)
        return records


def test_broken_episodes_are_left_out():
    env = Breaking([3])
    assert len(played([3], 1, env)) == 1
    assert len(env.actions) == 6


@pytest.mark.parametrize("length", [2, 5, 6, 16, 20, 21, 22, 50, 65])
def test_every_step_is_predicted_in_one_window(length):
    predicted = []
    for _, start in window_starts([length]):
        end = min(start + LENGTH, length)
        predicted += range(1 if start == 0 else start + CONTEXT, end)
    assert predicted == list(range(1, length))


def test_windows_hold_the_episode_and_what_was_done_before():
    episodes = played([3, 40], 2)
    chosen = window_starts([len(episode.action) for episode in episodes])
    assert chosen == [(0, 0), (1, 0), (1, 15), (1, 30)]
    batch, _, owner = windows(SPEC, episodes, chosen)
    assert owner.tolist() == [0, 1, 1, 1] + [-1] * 12
    assert batch.obs["count"][:4, :2, 0].tolist() == [[0, 1], [0, 1], [15, 16], [30, 31]]
    assert batch.is_first[0].tolist() == [True, False, False, False] + [True] * 16
    assert batch.is_first[1].sum() == 1 and not batch.is_first[2].any()
    assert batch.is_first[3].tolist() == [False] * 11 + [True] * 9
    assert batch.is_terminal[3].nonzero()[0].tolist() == [10]
    assert batch.prev_action[:4, 0].tolist() == [0, 0, 1 + 14 % 4, 1 + 29 % 4]
    assert len(set(batch.row.tolist())) == len(batch.row)


def knowing(*, wrong):
    """A model that knows how the count goes on, but for one number."""

    def open_loop(params, batch, key, *, context):
        real = batch.obs["count"]
        told = jnp.where(real == wrong, -1.0, real)
        later = jnp.arange(real.shape[1])[None, :, None] >= context
        first = jnp.asarray(batch.is_first)
        valid = jnp.pad(jnp.cumsum(first[:, 1:], 1) == 0, ((0, 0), (1, 0)), constant_values=True)
        return {
            "real": {"count": real}, "next": {"count": told[:, 1:]},
            "dream": {"count": jnp.where(later, told, -2.0)}, "valid": valid,
        }  # fmt: skip

    return SimpleNamespace(spec=SPEC, open_loop=open_loop)


def test_shares_of_whole_episodes(monkeypatch):
    monkeypatch.setattr(model_evaluator, "WINDOWS", 3)  # several batches, the last not full
    lengths = [40, 22]
    result = evaluate_model(
        knowing(wrong=21), counting_policy(), {}, FakeEnv(lengths), num_envs=2, episodes=2, greedy=True, seed=0
    )
    assert (result["episodes"], result["steps"]) == (2, 62)
    rows = result["observations"]["count"]
    assert list(rows) == ["next", "next_clearing", "open_loop_1", "open_loop_5", "open_loop_15"]
    assert rows["next"]["steps"] == 62 and rows["next_clearing"]["steps"] == 0
    assert rows["next"]["exact"]["mean"] == 60 / 62
    assert rows["next"]["exact_unchanged"]["mean"] == 0
    # One step after contexts that end at 4, 19 and 34, and at 4 and 19; five steps after them 9, 24, 39, and 9.
    assert (rows["open_loop_1"]["steps"], rows["open_loop_5"]["steps"]) == (5, 4)
    assert rows["open_loop_1"]["exact"]["mean"] == 1
    assert rows["open_loop_15"]["steps"] == 3


def test_an_agent_that_sees_no_grid_has_no_figures():
    spec = EnvSpec({"count": ObsSpec("vector", (1,), "float32")}, SPEC.action)
    agent = SimpleNamespace(spec=spec, open_loop=lambda *args, **kwargs: None)
    result = evaluate_model(agent, counting_policy(), {}, FakeEnv([3]), num_envs=1, episodes=1, greedy=True, seed=0)
    assert result["observations"] == {} and result["steps"] == 3


def test_disagreement_is_held_against_errors_of_the_steps_that_count():
    """Steps one ahead of whole episodes; those of other episodes and those for the model to see alone are left out."""
    base = knowing(wrong=-7)

    def open_loop(params, batch, key, *, context):
        count = batch.obs["count"][:, 1:, 0]
        doubts = {"disagreement": count, "error_members": count**2, "error_world_model": -count}
        return base.open_loop(params, batch, key, context=context) | doubts

    agent = SimpleNamespace(spec=SPEC, open_loop=open_loop)
    result = evaluate_model(
        agent, counting_policy(), {"ensemble": {}}, FakeEnv([40, 22]), num_envs=2, episodes=2, greedy=True, seed=0
    )["disagreement"]
    assert result["steps"] == 62
    assert result["members"]["rank_correlation"] == pytest.approx(1)
    assert result["world_model"]["rank_correlation"] == pytest.approx(-1)
    each = np.sort(np.concatenate([np.arange(1, 41), np.arange(1, 23)]))
    expected = [part.mean() for part in np.array_split(-each, 4)]
    np.testing.assert_allclose(result["world_model"]["error_by_quarter"], expected)


def test_episodes_without_end_are_cut():
    env = FakeEnv([10**9, 3])
    episodes = play(counting_policy(), {}, env, num_envs=2, episodes=4, greedy=True, seed=4, max_length=5)
    assert [len(episode.action) for episode in episodes] == [6, 6, 4, 4]
    assert [bool(episode.is_terminal[-1]) for episode in episodes] == [False, False, True, True]
    assert len(env.seeds) == 2
