"""Planning by the true rules, on a board as wide as the I is long: it clears a line at once where it lies flat."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.agents.acting import Carry
from dreamjax.agents.real_rules import GAME, legal_actions, make_rules_policy, rules_model
from dreamjax.envs.tetris import engine
from dreamjax.envs.tetris.rules import TetrisConfig
from dreamjax.models.heads import Head
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec, RSSMState
from tests.helpers.configs import make_tiny_config
from tests.helpers.places import NO_PARAMS, networks_of, place_model
from tests.helpers.xla import QUICK

RULES = TetrisConfig(action_mode="locked_position", width=4, height=6, piece_reward=0.1)
PIECE = ObsSpec("vector", (32,), "float32")
TETRIS = EnvSpec(
    obs={
        "action_mask": ObsSpec("mask", (24,), "int8"),
        "board": ObsSpec("grid", (1, 6, 4), "uint8", classes=2),
        "piece": PIECE,
    },
    action=ActionSpec((ActionPart("categorical", 24, masked=True),)),
)


def seeing_model():
    """Its state is what is seen; it cannot imagine."""

    def observe(params, state, action, embed, is_first, keys):
        return RSSMState(embed, state.stoch), state.stoch

    flat = lambda params, obs: jnp.concatenate([obs["board"].reshape(-1, 24), obs["piece"]], -1)
    return place_model(embed=flat, observe=observe, imagine=None, reward=None, cont=None)


def games(pieces):
    start = functools.partial(engine.reset, RULES, pieces=jnp.array(pieces, jnp.int8))
    return jax.jit(jax.vmap(start))(jax.random.split(jax.random.key(0), 2))


@pytest.fixture(scope="module")
def rules_networks():
    actor = Head(lambda key, feat: {}, lambda params, feat: jnp.zeros((*feat.shape[:-1], 24)))
    return networks_of(seeing_model())._replace(actor=actor)


def test_the_true_rules_are_the_engines_and_unseen_pieces_are_not_foreseen(rules_networks):
    config = make_tiny_config(loss={"gamma": 0.9})
    params = NO_PARAMS
    model = rules_model(rules_networks, config, TETRIS, params, RULES)
    game = games([0, 1, 2, 3])
    seen = RSSMState(jnp.zeros((2, 56)), jnp.zeros((2, 1, 1)))

    @functools.partial(jax.jit, compiler_options=QUICK)
    def run(game, keys):
        action = jax.nn.one_hot(jnp.array([21, 20]), 24)
        known, reward, discount = model.step((game, seen, None), action, keys)
        expected, output = jax.vmap(functools.partial(engine.step, RULES))(game, jnp.array([21, 20]))
        shown = jax.vmap(functools.partial(engine.observe, RULES))(expected)
        return known, reward, discount, output, shown, model.policy_and_value(known)[0].parts

    nexts = []
    for seed in range(6):
        known, reward, discount, output, shown, parts = run(game, jax.random.split(jax.random.key(seed), 2))
        np.testing.assert_array_equal(reward, output.reward)
        np.testing.assert_allclose(discount, 0.9)
        np.testing.assert_array_equal(known[2], shown["action_mask"] > 0)
        np.testing.assert_array_equal(parts[0].probs > 0, known[2])
        now = np.concatenate([shown["board"].reshape(2, 24), shown["piece"][:, :7]], 1)
        np.testing.assert_array_equal(known[1].deter[:, :31], now)
        nexts.append(np.argmax(known[1].deter[:, 31:38], -1))
    assert len(np.unique(nexts)) > 1, "the piece after the one that was shown"


def test_planning_by_the_true_rules_clears_the_line(rules_networks):
    config = make_tiny_config(planner={"num_simulations": 16, "max_num_considered_actions": 8, "actions": 8})
    policy = make_rules_policy(rules_networks, config, TETRIS, RULES)
    game = games([0, 0, 0])
    carry = Carry(RSSMState(jnp.zeros((2, 56)), jnp.zeros((2, 1, 1))), jnp.zeros((2, 24)))

    @functools.partial(jax.jit, compiler_options=QUICK)
    def run(game, keys):
        obs = jax.vmap(functools.partial(engine.observe, RULES))(game)
        _, record, _ = policy(NO_PARAMS, carry, {**obs, GAME: game}, jnp.ones(2, bool), keys, greedy=True)
        return record, legal_actions(obs), jax.vmap(functools.partial(engine.step, RULES))(game, record[:, 0])[1]

    record, mask, output = run(game, jax.random.split(jax.random.key(0), 2))
    np.testing.assert_array_equal(output.lines_cleared, 1)
    assert mask[np.arange(2), record[:, 0]].all() and legal_actions({}) is None
