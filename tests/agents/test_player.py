"""A loaded agent speaks the environment's own language, for one environment and for a batch."""

import gymnasium
import jax
import numpy as np
import pytest

from dreamjax.agents.agent import make_agent
from dreamjax.agents.player import Player
from dreamjax.envs.make import make_env_from
from tests.helpers.configs import make_tiny_config


class Corridor(gymnasium.Env):
    """A mask in the observation that leaves one action of four, and a dictionary of an action."""

    observation_space = gymnasium.spaces.Dict(
        {"at": gymnasium.spaces.Discrete(5), "action_mask": gymnasium.spaces.MultiBinary(4)}
    )
    action_space = gymnasium.spaces.Dict({"go": gymnasium.spaces.Discrete(4, start=10)})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return self.seen(), {}

    def seen(self):
        mask = np.zeros(4, np.int8)
        mask[self.at % 4] = 1
        return {"at": self.at, "action_mask": mask}

    def step(self, action):
        self.at = (self.at + 1) % 5
        return self.seen(), 0.0, False, False, {}


@pytest.fixture(scope="module")
def player():
    env = make_env_from(Corridor, 1, seed=0)
    agent = make_agent(make_tiny_config(), env.spec)
    return Player(agent, agent.init(jax.random.key(0)).params, env.observations, env.actions)


def test_single_actions_are_the_environments_own_and_legal(player):
    env, carry, is_first = Corridor(), None, True
    obs, _ = env.reset()
    for step in range(6):
        action, carry = player.act(obs, carry, is_first=is_first, key=jax.random.key(step), greedy=False)
        assert action == {"go": 10 + env.at % 4}  # the one legal class, shifted by the space's start
        obs, is_first = env.step(action)[0], False


def test_a_batch_acts_as_its_rows_would(player):
    first, second = Corridor(), Corridor()
    rows = [first.reset()[0], second.reset()[0]]
    second.at = 2
    rows[1] = second.seen()
    batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    action, carry = player.act(batch, None, is_first=[True, True], key=jax.random.key(0))
    np.testing.assert_array_equal(action["go"], [10, 12])
    assert carry.action.shape == (2, 4)
    np.testing.assert_array_equal(np.asarray(carry.action), [[1, 0, 0, 0], [0, 0, 1, 0]])


def test_predict_is_act_with_other_names(player):
    env = Corridor()
    obs, _ = env.reset()
    action, state = player.predict(obs, deterministic=True)
    expected, carry = player.act(obs, None, is_first=True, key=jax.random.key(0))
    assert action == expected == {"go": 10}
    jax.tree.map(np.testing.assert_array_equal, state.action, carry.action)
    later = env.step(action)[0]
    assert player.predict(later, state)[0] == {"go": 11}
    batch = {name: np.stack([obs[name], later[name]]) for name in obs}
    actions, state = player.predict(batch, None, np.array([True, True]))
    np.testing.assert_array_equal(actions["go"], [10, 11])
    assert state.action.shape == (2, 4)


def test_predict_draws_a_new_key_each_time(player, monkeypatch):
    keys = []
    monkeypatch.setattr(player, "act", lambda *_, key, **__: keys.append(jax.random.key_data(key).tolist()))
    player.predict(None)
    player.predict(None)
    assert keys[0] != keys[1]
