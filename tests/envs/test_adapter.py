"""The adapter: the same stream of records in every autoreset mode, and messages about invalid environments."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from dreamjax.config import EnvConfig
from dreamjax.envs.adapter import Adapter
from dreamjax.envs.checks import EnvError
from dreamjax.envs.make import make_env, make_env_from
from dreamjax.types import ActionPart, ObsSpec, Records
from tests.helpers import scripted

NUM_ENVS = len(scripted.SCRIPTS)
MODES = list(AutoresetMode)


def make_vector(kind: str, mode: AutoresetMode, masked: bool = False) -> Adapter:
    if kind == "own":
        env: Any = scripted.ScriptedVectorEnv(NUM_ENVS, mode, masked)
    else:
        games = [functools.partial(scripted.ScriptedEnv, i, masked) for i in range(NUM_ENVS)]
        env = SyncVectorEnv(games, autoreset_mode=mode)
    return make_env_from(lambda: env, NUM_ENVS, seed=0)


def choose(records: Records) -> np.ndarray:
    """An action that depends only on the observation, so that streams can be compared."""
    return (records.obs["observation"].sum(-1, keepdims=True) % 3).astype(np.int32)


def row(records: Records, i: int) -> dict[str, Any]:
    entries = {name: getattr(records, name)[i] for name in ("reward", "is_first", "is_last", "is_terminal")}
    entries |= {name: value[i] for name, value in records.obs.items()}
    return entries | {f"info/{name}": value[i] for name, value in records.info.items()}


def streams(adapter: Adapter, steps: int) -> list[list[dict[str, Any]]]:
    """The records of each environment, in order."""
    records = adapter.reset()
    result = [[row(records, i)] for i in range(adapter.num_envs)]
    for _ in range(steps):
        final, records = adapter.step(choose(records))
        if final is not None:
            for at, env in enumerate(final.env):
                result[env].append(row(final, at))
        for i in range(adapter.num_envs):
            result[i].append(row(records, i))
    return result


def expected_stream(index: int, length: int) -> list[dict[str, Any]]:
    """The stream by definition, from the script."""
    result: list[dict[str, Any]] = []
    episode = 0
    while len(result) < length:
        script = scripted.SCRIPTS[index]
        steps, terminal = script[episode % len(script)]
        total = 0.0
        for at in range(steps + 1):
            # The action came from the record before: (index + episode + step) modulo 3.
            reward = 0.0 if at == 0 else 100.0 * episode + 10 * at + (index + episode + at - 1) % 3
            total += reward
            result.append({
                "observation": [index, episode, at],
                "reward": reward,
                "is_first": at == 0,
                "is_last": at == steps,
                "is_terminal": at == steps and terminal,
                "info/lines": 2 * at,
                "info/cleared": np.nan if at == 0 else 2,
                "info/episode_return": total,
                "info/episode_length": at,
            })  # fmt: skip
        episode += 1
    return result[:length]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["sync", "own"])
def test_stream_is_the_same_under_every_autoreset_mode(kind: str, mode: AutoresetMode) -> None:
    adapter = make_vector(kind, mode)
    for index, stream in enumerate(streams(adapter, 30)):
        assert len(stream) >= 31
        for got, wanted in zip(stream, expected_stream(index, len(stream)), strict=True):
            # Before any environment has taken a step, nothing is known of a number that only steps give.
            if "info/cleared" not in got:
                wanted.pop("info/cleared")
            assert got.keys() == wanted.keys()
            for name, value in wanted.items():
                np.testing.assert_array_equal(got[name], value, err_msg=f"{name} of {wanted}")
    adapter.close()


@pytest.mark.parametrize("mode", MODES)
def test_final_holds_only_the_finished_rows(mode: AutoresetMode) -> None:
    adapter = make_vector("own", mode)
    records = adapter.reset()
    final, records = adapter.step(choose(records))  # environment 3 ends after one step
    if mode is AutoresetMode.NEXT_STEP:
        assert final is None
        assert records.is_last.tolist() == [False, False, False, True]
        final, records = adapter.step(choose(records))
        assert final is None
    else:
        assert final is not None
        assert final.env.tolist() == [3] and final.env.dtype == np.int32 and len(final) == 1
        assert final.is_last.tolist() == [True] and final.is_first.tolist() == [False]
        np.testing.assert_array_equal(final.obs["observation"], [[3, 0, 1]])
        assert not records.is_last.any()
    assert records.is_first.tolist() == [False, False, False, True]
    assert records.env.tolist() == [0, 1, 2, 3]
    assert records.reward[3] == 0


@pytest.mark.parametrize("mode", MODES)
def test_records_do_not_share_memory_with_the_environment(mode: AutoresetMode) -> None:
    adapter = make_vector("own", mode)
    records = adapter.reset()
    before = records.obs["observation"].copy()
    adapter.step(choose(records))
    np.testing.assert_array_equal(records.obs["observation"], before)
    assert not records.is_last.any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["sync", "own"])
def test_mask_in_info(kind: str, mode: AutoresetMode) -> None:
    adapter = make_vector(kind, mode, masked=True)
    assert adapter.spec.obs["action_mask"] == ObsSpec("mask", (3,), "bool")
    assert adapter.spec.action.parts == (ActionPart("categorical", 3, masked=True),)
    for stream in streams(adapter, 12):
        for got in stream:
            np.testing.assert_array_equal(got["action_mask"], np.arange(3) != got["observation"][2] % 3)


def test_truncation_is_not_termination() -> None:
    adapter = make_env(EnvConfig(id="Pendulum-v1", kwargs={"max_episode_steps": 5}), 2, seed=0)
    records = adapter.reset()
    for at in range(1, 6):
        _, records = adapter.step(np.zeros((2, 1), np.float32))
        assert records.is_last.tolist() == [at == 5] * 2
        assert not records.is_terminal.any()
    assert records.info["episode_length"].tolist() == [5, 5]
    _, records = adapter.step(np.zeros((2, 1), np.float32))
    assert records.is_first.all() and not records.is_last.any() and not records.reward.any()
    adapter.close()


def test_cartpole_comes_by_its_own_vector_program() -> None:
    adapter = make_env(EnvConfig(id="CartPole-v1"), 3, seed=4)
    assert type(adapter.env).__name__ == "CartPoleVectorEnv"
    assert adapter.spec.obs == {"observation": ObsSpec("vector", (4,), "float32")}
    first = adapter.reset()
    assert first.reward.dtype == np.float32 and first.obs["observation"].dtype == np.float32
    again = make_env(EnvConfig(id="CartPole-v1"), 3, seed=4).reset()
    np.testing.assert_array_equal(first.obs["observation"], again.obs["observation"])
    later = adapter.reset()  # without a seed, the generators continue
    assert (later.obs["observation"] != first.obs["observation"]).any()
    np.testing.assert_array_equal(adapter.reset(seed=4).obs["observation"], first.obs["observation"])


def test_taxi_mask_comes_from_info() -> None:
    name = next(name for name in ("Taxi-v4", "Taxi-v3") if name in gymnasium.registry)
    adapter = make_env(EnvConfig(id=name), 2, seed=0)
    assert adapter.spec.obs["observation"] == ObsSpec("discrete", (1,), "int32", classes=500)
    assert adapter.spec.action.masked
    records = adapter.reset()
    assert records.obs["action_mask"].shape == (2, 6) and records.obs["action_mask"].dtype == bool
    for _ in range(250):  # beyond the time limit of 200
        action = np.array([[np.flatnonzero(mask)[0]] for mask in records.obs["action_mask"]])
        _, records = adapter.step(action)
        assert records.obs["action_mask"].any(-1).all()


def test_mask_in_observation_and_an_empty_one() -> None:
    class Masked(scripted.SpaceEnv):
        def __init__(self) -> None:
            mask = spaces.Box(0, 1, (4,), np.int8)
            super().__init__(spaces.Dict(x=spaces.Box(0, 1, (2,)), action_mask=mask), spaces.Discrete(4))

        def reset(self, **kwargs: Any) -> Any:
            observation, info = super().reset(**kwargs)
            return {**observation, "action_mask": np.array([1, 0, 1, 0], np.int8)}, info

        def step(self, action: Any) -> Any:
            observation, *rest = super().step(action)
            return {**observation, "action_mask": np.zeros(4, np.int8)}, *rest

    adapter = make_env_from(Masked, 2, seed=0)
    assert adapter.spec.obs["action_mask"] == ObsSpec("mask", (4,), "bool")
    assert adapter.spec.action.masked
    records = adapter.reset()
    assert records.obs["action_mask"].tolist() == [[True, False, True, False]] * 2
    _, records = adapter.step(np.zeros((2, 1), np.int32))
    assert not records.obs["action_mask"].any()


def test_mask_that_fits_no_action_is_ignored_with_a_warning() -> None:
    observation = spaces.Dict(x=spaces.Box(0, 1, (2,)), action_mask=spaces.MultiBinary(5))
    with pytest.warns(UserWarning, match="action_mask is ignored"):
        adapter = make_env_from(lambda: scripted.SpaceEnv(observation, spaces.MultiBinary(5)), 1, seed=0)
    assert list(adapter.reset().obs) == ["x"] and not adapter.spec.action.masked


class Stateful(scripted.ScriptedVectorEnv):
    def get_state(self) -> dict[str, np.ndarray]:
        games = np.array([[game.episode, game.at] for game in self.games])
        return {"games": games, "ended": self.ended, "memory": self.memory}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        for game, (episode, at) in zip(self.games, state["games"], strict=True):
            game.episode, game.at = int(episode), int(at)
        self.ended, self.memory = state["ended"], state["memory"]


@pytest.mark.parametrize("mode", MODES)
def test_a_restored_state_continues_exactly(mode: AutoresetMode) -> None:
    def fresh() -> Adapter:
        return make_env_from(lambda: Stateful(NUM_ENVS, mode), NUM_ENVS, seed=0)

    adapter = fresh()
    records = adapter.reset()
    for _ in range(7):
        _, records = adapter.step(choose(records))
    state = adapter.get_state()
    assert state is not None and all(isinstance(value, np.ndarray) for value in state.values())
    other = fresh()
    resumed = other.set_state(state)
    for _ in range(20):
        for i in range(NUM_ENVS):
            np.testing.assert_equal(row(resumed, i), row(records, i))
        (final, records), (other_final, resumed) = adapter.step(choose(records)), other.step(choose(resumed))
        assert (final is None) == (other_final is None)


def test_no_state_if_the_environment_has_none() -> None:
    adapter = make_vector("sync", AutoresetMode.NEXT_STEP)
    adapter.reset()
    assert adapter.get_state() is None


def say(error: pytest.ExceptionInfo[BaseException]) -> str:
    return str(error.value)


def test_unknown_id_module_and_argument() -> None:
    for name, message in (("Nowhere-v0", "doesn't exist"), ("nomodule:X-v0", "No module named 'nomodule'")):
        with pytest.raises(EnvError, match=message):
            make_env(EnvConfig(id=name), 1, seed=0)
    with pytest.raises(EnvError, match=r"CartPole-v1 cannot be made: TypeError.*wheels"):
        make_env(EnvConfig(id="CartPole-v1", kwargs={"wheels": 4}), 1, seed=0)
    with pytest.raises(EnvError, match="action_mode"):
        make_env(EnvConfig(id="CartPole-v1", action_mode="direct"), 1, seed=0)
    with pytest.raises(EnvError, match="num_envs=0"):
        make_env(EnvConfig(id="CartPole-v1"), 0, seed=0)


def test_module_prefix_imports_the_module() -> None:
    adapter = make_env(EnvConfig(id="tests.helpers.scripted:Scripted-v0"), 1, seed=0)
    assert adapter.reset().obs["observation"].shape == (1, 2)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nan", r"step 3: environment 0: observation entry 'observation' is nan at \[1\]: not finite"),
        ("inf_reward", r"step 3: environment 0: the reward is inf"),
        ("shape", r"step 3: environment 0: observation entry 'observation' has shape \(5,\), its space says \(2,\)"),
    ],
)
def test_bad_values_name_environment_entry_and_step(fault: str, message: str) -> None:
    adapter = make_env_from(functools.partial(scripted.FaultyEnv, fault), 2, seed=0)
    adapter.reset()
    action = np.zeros((2, 1), np.int32)
    adapter.step(action)
    adapter.step(action)
    with pytest.raises(EnvError, match=message):
        adapter.step(action)


def test_exceptions_of_the_environment_keep_their_type_and_name_the_step() -> None:
    adapter = make_env_from(functools.partial(scripted.FaultyEnv, "raise", at=1), 1, seed=0)
    adapter.reset()
    with pytest.raises(RuntimeError, match="the step went wrong") as error:
        adapter.step(np.zeros((1, 1), np.int32))
    assert "step 1" in error.value.__notes__[0]
    with pytest.raises(EnvError, match="cannot be reset: RuntimeError: the reset went wrong"):
        make_env_from(functools.partial(scripted.FaultyEnv, "reset"), 1, seed=0)


def test_bad_actions_are_refused() -> None:
    adapter = make_vector("sync", AutoresetMode.NEXT_STEP)
    adapter.reset()
    with pytest.raises(ValueError, match="3 rows, not 4"):
        adapter.step(np.zeros((3, 1), np.int32))
    with pytest.raises(ValueError, match=r"shape \(4, 2\)"):
        adapter.step(np.zeros((4, 2), np.int32))
    with pytest.raises(ValueError, match="holds 3 in column 0"):
        adapter.step(np.full((4, 1), 3))


def test_same_step_without_a_final_observation_is_refused() -> None:
    class Silent(scripted.ScriptedVectorEnv):
        def step(self, actions: Any) -> Any:
            *rest, infos = super().step(actions)
            infos.pop("final_obs", None)
            return *rest, infos

    adapter = make_env_from(lambda: Silent(NUM_ENVS, AutoresetMode.SAME_STEP), NUM_ENVS, seed=0)
    with pytest.raises(EnvError, match="environment 3: no terminal observation"):
        adapter.step(choose(adapter.reset()))


def test_older_final_infos_as_an_array_of_dictionaries() -> None:
    class Older(scripted.ScriptedVectorEnv):
        def step(self, actions: Any) -> Any:
            *rest, infos = super().step(actions)
            if "final_obs" in infos:
                ended = infos["_final_info"]
                infos["final_observation"] = np.array([None] * self.num_envs, object)
                dicts = np.array([None] * self.num_envs, object)
                for i in np.flatnonzero(ended):
                    infos["final_observation"][i] = infos["final_obs"][i]
                    mask = infos["final_info"]["action_mask"][i]
                    dicts[i] = {"lines": infos["final_info"]["lines"][i], "action_mask": mask}
                infos["final_info"] = dicts
                del infos["final_obs"]
            return *rest, infos

    adapter = make_env_from(lambda: Older(NUM_ENVS, AutoresetMode.SAME_STEP, masked=True), NUM_ENVS, seed=0)
    for stream in streams(adapter, 10):
        for got in stream:
            assert got["info/lines"] == 2 * got["observation"][2]
            np.testing.assert_array_equal(got["action_mask"], np.arange(3) != got["observation"][2] % 3)


def test_wrong_number_of_environments() -> None:
    with pytest.raises(EnvError, match="has 4 environments, not 2"):
        make_env_from(lambda: scripted.ScriptedVectorEnv(4, AutoresetMode.NEXT_STEP), 2, seed=0)
