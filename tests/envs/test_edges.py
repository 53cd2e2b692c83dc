"""What environments return at the edge of the API: taken where the meaning is sure, else refused in one sentence."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from dreamjax.agents.agent import make_agent
from dreamjax.agents.player import Player
from dreamjax.config import EnvConfig
from dreamjax.envs.adapter import Adapter
from dreamjax.envs.checks import EnvError
from dreamjax.envs.make import make_env, make_env_from
from dreamjax.types import ObsSpec, Records
from tests.helpers import edges, scripted
from tests.helpers.configs import make_tiny_config

ONE = np.ones((2, 1), np.int32)
MODULE = "tests.helpers.edges"


def second_step(space: spaces.Space | None = None, **replaced: Any) -> Records:
    adapter = make_env_from(functools.partial(edges.Edge, space, **replaced), 2, seed=0)
    adapter.reset()
    adapter.step(ONE)
    return adapter.step(ONE)[1]


@pytest.mark.parametrize(
    "reward", [np.array([2.5]), np.array([[2.5]]), np.float64(2.5), np.array(2.5), edges.Number(2.5), [2.5]]
)
def test_one_number_is_a_reward(reward: Any) -> None:
    assert second_step(reward=reward).reward.tolist() == [2.5, 2.5]


def test_jax_scalars_are_taken() -> None:
    records = second_step(reward=jnp.float32(2.5), terminated=jnp.array(True), observation=jnp.array([3.0, 4.0]))
    assert records.reward.tolist() == [2.5, 2.5] and records.is_terminal.all()
    assert records.obs["observation"].tolist() == [[3, 4], [3, 4]]


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"reward": None}, "the reward is None: return one number"),
        ({"reward": "2"}, "the reward is '2': return one number"),
        ({"reward": np.zeros(2)}, r"the reward is array\(\[0., 0.\]\) of shape \(2,\): return one number"),
        ({"reward": np.nan}, "the reward is nan: not finite in float32, return a finite number"),
        ({"reward": 1e300}, "the reward is 1e.300: not finite"),
        ({"terminated": None}, "terminated is None: return one number"),
        ({"info": None}, "the info of a step is None: return a dictionary"),
        ({"observation": None}, "observation entry 'observation' is None: its space says numbers"),
        ({"observation": [[1], [1, 2]]}, r"is no array but \[\[1\], \[1, 2\]\]"),
        ({"observation": np.full(2, np.nan)}, r"observation entry 'observation' is nan at \[0\]: not finite"),
    ],
)
def test_other_values_are_named(replaced: dict[str, Any], message: str) -> None:
    with pytest.raises(EnvError, match=f"^Edge, step 2: environment 0: .*{message}"):
        second_step(**replaced)


def test_integers_that_fit_their_space_are_taken() -> None:
    board = spaces.Box(0, 9, (2, 3), np.uint8)
    got = second_step(board, observation=np.arange(6).reshape(2, 3)).obs["observation"]
    np.testing.assert_array_equal(got[1], [np.arange(6).reshape(2, 3)])
    assert second_step(board, observation=np.full((2, 3), 4.0)).obs["observation"].max() == 4
    for value in (300, -1, 1.5, np.nan):
        with pytest.raises(EnvError, match=rf"is {value} \(\w+\) at \[0, 0\], which uint8 of its space cannot hold"):
            second_step(board, observation=np.full((2, 3), value))


def test_one_number_in_another_nesting_is_taken() -> None:
    assert second_step(spaces.Discrete(5), observation=np.array([3])).obs["observation"].tolist() == [[3], [3]]
    image = second_step(spaces.Box(0, 1, (1,), np.float32), observation=0.5)
    assert image.obs["observation"].tolist() == [[0.5], [0.5]]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("EdgeRewardNone", r"EdgeRewardNone-v0, step 2: environment 0: the reward is None: return one number$"),
        ("EdgeTooLarge", r"step 2: environment 0: observation entry 'observation' is 300 \(int64\) at \[0, 0\]"),
        (
            "EdgeOldReset",
            r"environment 0: it follows the API of Gym before 0.26 \(reset returned the observation alone",
        ),
    ],
)
def test_workers_refuse_what_one_process_refuses(name: str, message: str, workers: int) -> None:
    # A warning, of a restart, would be an error.
    with contextlib.ExitStack() as stack, pytest.raises(EnvError, match=message) as caught:
        adapter = make_env(EnvConfig(id=f"{MODULE}:{name}-v0", workers=workers), 2, seed=0)
        stack.callback(adapter.close)
        adapter.reset()
        adapter.step(ONE)
        adapter.step(ONE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("limit", [None, 5])  # with a limit, Gymnasium's wrappers unpack the results
@pytest.mark.parametrize(
    ("name", "what"), [("OldStep", "step returned four values"), ("NoSeed", "reset takes no seed")]
)
def test_the_old_api_is_named(name: str, what: str, limit: int | None) -> None:
    kwargs = {} if limit is None else {"max_episode_steps": limit}
    config = EnvConfig(id=f"{MODULE}:Edge{name}-v0", kwargs=kwargs)
    with pytest.raises(EnvError, match=rf"the API of Gym before 0.26 \({what}.*shimmy"):
        adapter = make_env(config, 1, seed=0)
        adapter.reset()
        adapter.step(ONE[:1])


def test_infos_of_any_kind_are_numbers_by_name() -> None:
    info = {
        "lines": np.int32(2), "won": True, "depth": edges.Number(1.5), "text": "a",
        "stats": {"keys": 3, "name": "x", "map": np.zeros(3)},
        "none": None, "list": [1, 2], "one": np.array([7]),
    }  # fmt: skip
    found = second_step(info=info).info
    got = {name: value[0] for name, value in found.items() if not name.startswith("episode")}
    assert got == {"lines": 2, "won": 1, "depth": 1.5, "stats/keys": 3, "one": 7}


class Columns(scripted.ScriptedVectorEnv):
    """A vector program whose rewards and ends are columns."""

    def step(self, actions: Any) -> Any:
        observation, *rest, infos = super().step(actions)
        return observation, *(value[:, None] for value in rest), infos


def test_columns_of_a_vector_program_are_taken() -> None:
    def stream(cls: Any) -> list[Records]:
        adapter = make_env_from(lambda: cls(4, gymnasium.vector.AutoresetMode.NEXT_STEP), 4, seed=0)
        return [adapter.reset()] + [adapter.step(np.ones((4, 1), np.int32))[1] for _ in range(9)]

    for records, wanted in zip(stream(Columns), stream(scripted.ScriptedVectorEnv), strict=True):
        np.testing.assert_array_equal(records.reward, wanted.reward)
        np.testing.assert_array_equal(records.is_terminal, wanted.is_terminal)


# Masks that only the infos of steps have.


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mask_that_begins_with_the_first_step_is_used(workers: int) -> None:
    adapter = make_env(EnvConfig(id=f"{MODULE}:EdgeLateMask-v0", workers=workers), 2, seed=0)
    assert adapter.spec.obs["action_mask"] == ObsSpec("mask", (4,), "bool") and adapter.spec.action.masked
    records = adapter.reset()
    assert records.obs["action_mask"].all()
    for step in range(1, 12):  # the environment asserts that actions are legal
        _, records = adapter.step(records.obs["action_mask"].argmax(1)[:, None])
        wanted = [True] * 4 if records.is_first[0] else (np.arange(4) == step % 8 % 4).tolist()
        assert records.obs["action_mask"].tolist() == [wanted] * 2
    adapter.close()


def test_a_mask_that_begins_later_is_said_to_be_unused() -> None:
    adapter = make_env(EnvConfig(id=f"{MODULE}:EdgeLaterMask-v0"), 1, seed=0)
    assert not adapter.spec.action.masked
    adapter.reset()
    adapter.step(ONE[:1])
    adapter.step(ONE[:1])
    with pytest.warns(UserWarning, match="step 3: info has an action_mask that neither .* it is not used"):
        adapter.step(ONE[:1])


@pytest.fixture(scope="module")
def masked() -> tuple[Adapter, Player]:
    adapter = make_env(EnvConfig(id=f"{MODULE}:EdgeLateMask-v0"), 1, seed=0)
    agent = make_agent(make_tiny_config(), adapter.spec)
    return adapter, Player(agent, agent.init(jax.random.key(0)).params, adapter.observations, adapter.actions)


def test_an_agent_acts_with_and_without_a_mask(masked: tuple[Adapter, Player]) -> None:
    env, (_, player), carry = edges.LateMask(), masked, None
    obs, info = env.reset()
    for step in range(4):  # the environment asserts that actions are legal
        mask = info.get("action_mask")
        action, carry = player.act(obs, carry, is_first=step == 0, key=jax.random.key(step), action_mask=mask)
        obs, *_, info = env.step(action)
    with pytest.warns(UserWarning, match="act got no action_mask"):
        player.act(obs, carry, is_first=False, key=jax.random.key(0))
    with pytest.raises(EnvError, match=r"action_mask has shape \(3,\), not 4 entries for each of 1"):
        player.act(obs, carry, is_first=False, key=jax.random.key(0), action_mask=np.ones(3))
