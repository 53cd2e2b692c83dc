"""One id is one environment, whichever way it is made."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import ClipReward, NormalizeReward, RecordEpisodeStatistics

from dreamjax.commands import check_env
from dreamjax.config import EnvConfig
from dreamjax.envs.checks import EnvError, EnvWarning
from dreamjax.envs.make import make_env, make_single
from dreamjax.envs.workers.vector_env import WorkerVectorEnv
from dreamjax.types import ObsSpec
from tests.helpers import edges, scripted

ONE = np.ones((2, 1), np.int32)


class Preprocessed(SyncVectorEnv):
    """A vector entry point of another space and of smaller rewards, as that of Atari."""

    def __init__(self, num_envs: int, size: int = 5) -> None:
        space = spaces.Box(-1e6, 1e6, (size,), np.float32)
        super().__init__([lambda: edges.Edge(space)] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP)


@pytest.fixture
def both() -> Any:
    """An id with two entry points; the second takes the size of its space."""
    gymnasium.register("Both-v0", entry_point=edges.Edge, vector_entry_point=Preprocessed)
    yield "Both-v0"
    del gymnasium.registry["Both-v0"]


def test_a_vector_program_with_other_spaces_is_not_used(both: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(EnvWarning, match=r"Both-v0: its vector entry point has the observation space .*single environ"):
        adapter = make_env(EnvConfig(id=both), 2, seed=0)
    single = make_single(EnvConfig(id=both))
    assert type(adapter.env) is SyncVectorEnv
    assert adapter.spec.obs == {"observation": ObsSpec("vector", (2,), "float32")}
    assert adapter.env.single_observation_space == single.observation_space
    assert check_env.main([f"--env={both}", "--steps=20"]) == 0
    out = capsys.readouterr().out
    assert "its vector entry point has the observation space" in out and "without workers" not in out
    # A run of a version that took it goes on with it.
    assert make_env(EnvConfig(id=both, layout="legacy"), 2, seed=0).spec.obs["observation"].shape == (5,)


def test_a_vector_program_with_the_same_spaces_is_used(both: str, capsys: pytest.CaptureFixture[str]) -> None:
    gymnasium.registry[both].vector_entry_point = lambda num_envs: Preprocessed(num_envs, 2)
    adapter = make_env(EnvConfig(id=both), 2, seed=0)
    assert type(adapter.env) is Preprocessed
    assert check_env.main([f"--env={both}", "--steps=20"]) == 0
    out = capsys.readouterr().out
    assert "without workers: its vector program Preprocessed, which has the same spaces" in out
    assert "warning rewards" not in out


def test_a_vector_program_with_other_rewards_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    gymnasium.register("Both-v0", entry_point=Pays, vector_entry_point=lambda num_envs: Preprocessed(num_envs, 2))
    try:
        check_env.main(["--env=Both-v0", "--steps=20"])
    finally:
        del gymnasium.registry["Both-v0"]
    assert "rewards reach 10 in the environment itself and 1 in its vector program" in capsys.readouterr().out


class Pays(edges.Edge):
    """Each step pays 10."""

    def step(self, action: Any) -> Any:
        observation, _, *rest = super().step(action)
        return observation, 10.0, *rest


class Repeat(gymnasium.Wrapper):
    """Each step is two."""

    def step(self, action: Any) -> Any:
        _, first, *_ = self.env.step(action)
        observation, second, *rest = self.env.step(action)
        return observation, first + second, *rest


@pytest.mark.parametrize(
    ("wrap", "reward", "earned"),
    [
        (lambda env: ClipReward(env, -1, 1), 1.0, 10.0),
        (lambda env: Repeat(ClipReward(env, -1, 1)), 2.0, 20.0),
        (lambda env: ClipReward(Repeat(env), -1, 1), 1.0, 20.0),
        (lambda env: ClipReward(NormalizeReward(env), -1, 1), None, 10.0),
        (lambda env: RecordEpisodeStatistics(env), 10.0, 10.0),
    ],
)
def test_returns_are_counted_before_rewards_are_clipped(wrap: Any, reward: float | None, earned: float) -> None:
    gymnasium.register("Clipped-v0", entry_point=lambda: wrap(Pays()))
    try:
        adapter = make_env(EnvConfig(id="Clipped-v0"), 2, seed=0)
        for _ in range(2):  # a reset begins anew
            adapter.reset()
            for step in range(1, 3):
                _, records = adapter.step(ONE)
                assert reward is None or records.reward.tolist() == [reward] * 2
                assert records.info["episode_return"].tolist() == [earned * step] * 2
        assert "raw_reward" not in records.info
    finally:
        del gymnasium.registry["Clipped-v0"]


def test_wrappers_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    gymnasium.register("Clipped-v0", entry_point=lambda: ClipReward(Pays(), -1, 1), max_episode_steps=5)
    try:
        assert check_env.main(["--env=Clipped-v0", "--steps=20"]) == 0
    finally:
        del gymnasium.registry["Clipped-v0"]
    out = capsys.readouterr().out
    assert "the environment: TimeLimit (5 steps) of ClipReward (returns are counted before it) of Pays" in out


def test_workers_and_this_process_make_the_same() -> None:
    name = "tests.helpers.edges:EdgeFits-v0"
    here, there = (make_env(EnvConfig(id=name, workers=workers), 2, seed=0) for workers in (0, 1))
    assert type(there.env) is WorkerVectorEnv and here.spec == there.spec
    assert here.env.single_observation_space == there.env.single_observation_space
    there.close()


def test_scripted_ids_are_found_by_their_module() -> None:
    assert isinstance(make_single(EnvConfig(id="tests.helpers.scripted:Scripted")).unwrapped, scripted.FaultyEnv)


def test_a_simulator_of_which_there_may_be_one() -> None:
    adapter = make_env(EnvConfig(id="tests.helpers.edges:EdgeAlone-v0"), 1, seed=0)
    adapter.close()
    with pytest.raises(
        EnvError, match=r"environment 1 of 2 cannot be made beside the first: .*port is taken; .*num_envs=1"
    ):
        make_env(EnvConfig(id="tests.helpers.edges:EdgeAlone-v0"), 2, seed=0)
    edges.Alone.alive = 0


def test_arguments_that_only_the_environment_itself_takes(both: str) -> None:
    with pytest.warns(EnvWarning, match="vector entry point cannot be made: TypeError.*single environments are made"):
        adapter = make_env(EnvConfig(id=both, kwargs={"max_episode_steps": 2}), 2, seed=0)
    adapter.reset()
    adapter.step(ONE)
    assert adapter.step(ONE)[1].is_last.all()


@pytest.mark.parametrize("width", [4, 5])
def test_boards_of_tetris_are_read_as_they_are(width: int) -> None:
    """Of any size, and without a warning, which would be an error here."""
    kwargs = {"height": 8, "width": width}
    adapter = make_env(EnvConfig(id="dreamjax/Tetris-v0", action_mode="direct", kwargs=kwargs), 1, seed=0)
    assert adapter.spec.obs["board"] == ObsSpec("grid", (2, 8, width), "uint8", 2)
    legacy = EnvConfig(id="dreamjax/Tetris-v0", action_mode="direct", kwargs=kwargs, layout="legacy")
    assert make_env(legacy, 1, seed=0).spec == adapter.spec
