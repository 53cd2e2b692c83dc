"""The agent that plans: what it reads of the model, what it takes, and the same with the true rules of Tetris."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from dreamjax.agents.acting import Carry, make_acting
from dreamjax.agents.agent import make_agent
from dreamjax.agents.planning_agent import make_decision
from dreamjax.agents.real_rules import GAME, legal, make_rules_policy, rules_simulator
from dreamjax.algorithms.exploration import NOVELTY, Novelty
from dreamjax.algorithms.planning import latent_simulator
from dreamjax.config import ConfigError
from dreamjax.envs.tetris import engine
from dreamjax.envs.tetris.rules import TetrisConfig
from dreamjax.models.ensemble import Ensemble
from dreamjax.models.heads import Head, Networks
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec, RSSMState, WorldModel
from tests.conftest import make_tiny_config

SPEC = EnvSpec(
    obs={"action_mask": ObsSpec("mask", (3,), "int8"), "vector": ObsSpec("vector", (1,), "float32")},
    action=ActionSpec((ActionPart("categorical", 3, masked=True),)),
)
# Two steps: class i leads to place 1 + i, from there class j to place 4 + 3 i + j, where all ends. By place: what arriving
# pays, and which classes are legal. Class 2 pays at once, class 1 (with 0 after it) in the end; class 0 would pay most, but
# is illegal in truth.
PAYS = np.array([0, 5, 0, 1, 9, 9, 9, 3, 0, 9, 0, 0, 0.5], np.float32)
MODEL_LEGAL = np.ones((13, 3), bool)
MODEL_LEGAL[2, 2] = False  # what would lead to the 9 at place 9
NO_PARAMS = {name: {} for name in ("world_model", "actor", "critic")}
REAL_LEGAL = np.array([[0, 1, 1]], np.int8)


def networks_of(world_model):
    """Actor and critic without parameters: every class alike, every value 0."""
    nothing = lambda size: Head(lambda key, feat: {}, lambda params, feat: jnp.zeros((*feat.shape[:-1], size)), None)
    return Networks(world_model, nothing(3), nothing(1))


def place_model(**others):
    def imagine(params, state, action, keys):
        following = jnp.minimum(3 * state.deter[:, 0] + 1 + jnp.argmax(action, -1), 12)
        return RSSMState(following[:, None], state.stoch), state.stoch

    place = lambda feat: feat[..., 0].astype(jnp.int32)
    fields = dict.fromkeys(WorldModel._fields, lambda *_: None) | dict(
        initial=lambda count: RSSMState(jnp.zeros((count, 1)), jnp.zeros((count, 1, 1))),
        embed=lambda params, obs: obs["vector"],
        observe=lambda params, state, action, embed, is_first, keys: (RSSMState(embed, state.stoch), state.stoch),
        imagine=imagine,
        feat=lambda state: state.deter,
        reward=lambda params, feat: jnp.log1p(jnp.asarray(PAYS))[place(feat)][..., None],
        cont=lambda params, feat: jnp.where(place(feat) >= 4, -50.0, 50.0),
        mask=lambda params, feat: 2.0 * jnp.asarray(MODEL_LEGAL)[place(feat)] - 1,
    )
    return WorldModel(**fields | others | {"feat_size": 1, "effects": None, "needs_previous": False})


def act(config, *, greedy=True, count=2, seed=0, networks=None, params=NO_PARAMS):
    networks = networks or networks_of(place_model())
    policy = make_acting(networks, config, SPEC, make_decision(networks, config, SPEC))
    carry = Carry(networks.world_model.initial(count), jnp.zeros((count, 3)))
    obs = {"vector": np.zeros((count, 1), np.float32), "action_mask": np.repeat(REAL_LEGAL, count, 0)}
    run = jax.jit(functools.partial(policy, greedy=greedy), compiler_options=small.QUICK)
    return run(params, carry, obs, np.ones(count, bool), jax.random.split(jax.random.key(seed), count))


@pytest.mark.parametrize("method", ["gumbel", "cem", "mppi"])
def test_it_sees_what_one_step_does_not(method):
    """Class 2 pays 1 at once and class 1 pays 3 a step later; the masks of truth and model hide the rest."""
    planner = dict(
        method=method, num_simulations=16, considered=3, horizon=2, candidates=24, iterations=2, temperature=0.1
    )
    after, record, state = act(make_tiny_config(planner=planner))
    np.testing.assert_array_equal(record, [[1], [1]])
    np.testing.assert_array_equal(after.action, [[0, 1, 0]] * 2)
    np.testing.assert_array_equal(state.deter, after.state.deter)


def test_draws_are_legal_and_differ():
    planner = dict(num_simulations=2, considered=2, value_scale=0.0)
    record = act(make_tiny_config(planner=planner), greedy=False, count=64)[1]
    assert set(np.unique(record)) == {1, 2}


def test_the_latent_simulator_reads_reward_discount_and_mask():
    config = make_tiny_config(loss={"gamma": 0.9, "cont_discount": False})
    simulator = latent_simulator(networks_of(place_model()), config, SPEC, NO_PARAMS)
    state = RSSMState(jnp.array([[0.0], [2.0]]), jnp.zeros((2, 1, 1)))
    keys = jax.random.split(jax.random.key(0), 2)
    following, reward, discount = simulator.step(state, jnp.eye(3)[jnp.array([1, 0])], keys)
    np.testing.assert_array_equal(following.deter, [[2], [7]])
    np.testing.assert_allclose(reward, [0, 3], rtol=1e-5)
    np.testing.assert_allclose(discount, [0.9, 0], atol=1e-6)
    policy, _ = simulator.outlook(following)
    np.testing.assert_allclose(policy.parts[0].probs, [[0.5, 0.5, 0], [1 / 3] * 3], rtol=1e-5)


def unsure_networks():
    """Members that say 0 and 4 of the one feature after class 1, a variance of 4, and agree about the others."""
    told = lambda params, feat, action: jnp.stack([feat[:, :1] * 0, feat[:, :1] * 0 + 4 * action[:, 1:2]])
    return networks_of(place_model())._replace(ensemble=Ensemble(None, told, None))


def heeding(intrinsic, extrinsic, limit):
    """Parameters by which disagreement is heeded, in units of 8."""
    return {**NO_PARAMS, "ensemble": {}, NOVELTY: Novelty(*map(jnp.float32, (8, intrinsic, extrinsic, limit)))}


def test_the_latent_simulator_heeds_disagreement():
    config = make_tiny_config(loss={"gamma": 0.9, "cont_discount": False})
    state = RSSMState(jnp.array([[0.0], [0.0]]), jnp.zeros((2, 1, 1)))
    ask = (state, jnp.eye(3)[jnp.array([1, 2])], jax.random.split(jax.random.key(0), 2))

    def step(params):
        return latent_simulator(unsure_networks(), config, SPEC, params).step(*ask)[1:]

    reward, discount = step(NO_PARAMS)
    np.testing.assert_allclose([reward, discount], [[0, 1], [0.9, 0.9]], rtol=1e-5)
    reward, discount = step(heeding(6.0, 0.5, jnp.inf))  # an explorer's
    np.testing.assert_allclose([reward, discount], [[6.0 * 4 / 8, 0.5 * 1], [0.9, 0.9]], rtol=1e-5)
    reward, discount = step(heeding(-2.0, 1.0, 0.4))  # class 1 is 4 / 8 units off
    np.testing.assert_allclose([reward, discount], [[-2.0 * 4 / 8, 1], [0, 0.9]], rtol=1e-5)
    reward, discount = step(heeding(0.0, 1.0, 0.6))
    np.testing.assert_allclose([reward, discount], [[0, 1], [0.9, 0.9]], rtol=1e-5)


@pytest.mark.parametrize("method", ["gumbel", "cem", "mppi"])
@pytest.mark.parametrize(
    ("weights", "chosen"), [((0.0, 1.0, jnp.inf), 1), ((-6.0, 1.0, jnp.inf), 2), ((0.0, 1.0, 0.4), 2)]
)
def test_planners_go_round_what_is_disagreed_on(method, weights, chosen):
    """What class 1 leads to pays 3, unless the model's word on it costs 6 units of a half, or counts for nothing."""
    planner = dict(
        method=method, num_simulations=16, considered=3, horizon=2, candidates=24, iterations=2, temperature=0.1
    )
    record = act(make_tiny_config(planner=planner), networks=unsure_networks(), params=heeding(*weights))[1]
    np.testing.assert_array_equal(record, [[chosen]] * 2)


def test_all_of_too_many_actions_are_refused(tiny_config):
    spec = EnvSpec(SPEC.obs, ActionSpec((ActionPart("binary", 13),)))
    with pytest.raises(ConfigError, match=r"planner\.actions=0"):
        make_agent(small.vary(tiny_config, planner={"actions": 0}), spec)
    make_agent(small.vary(tiny_config, planner={"actions": 8}), spec)


def test_classes_that_may_be_illegal_are_not_held(tiny_config):
    with pytest.raises(ConfigError, match=r"planner\.method='held' is not allowed"):
        make_agent(small.vary(tiny_config, planner={"method": "held"}), SPEC)


def test_a_held_plan_is_carried_until_the_episode_ends(tiny_config, tiny_spec):
    """Where all is worth the same the old plan stays, one step on; a reset forgets it, and other agents keep it."""
    config = small.vary(tiny_config, planner=dict(method="held", horizon=3, candidates=8))
    agent = make_agent(config, tiny_spec)
    networks = agent.networks
    zero = networks.world_model._replace(reward=lambda params, feat: jnp.zeros((*feat.shape[:-1], 1)))
    critic = Head(networks.critic.init, lambda params, feat: jnp.zeros((*feat.shape[:-1], 1)), None)
    networks = networks._replace(world_model=zero, critic=critic)
    policy = make_acting(networks, config, tiny_spec, make_decision(networks, config, tiny_spec))
    size = networks.world_model.feat_size
    params = {"world_model": small.random_params(networks.world_model.init), "critic": {}}
    params["actor"] = small.random_params(lambda key: networks.actor.init(key, size))
    begun = agent.initial_carry(3)
    assert begun.plan.shape == (3, 3, 3)
    plan = jnp.arange(27.0).reshape(3, 3, 3) % 2
    obs = {name: np.zeros((3, *entry.shape), entry.dtype) for name, entry in tiny_spec.obs.items()}
    first = np.array([False, True, False])
    run = jax.jit(functools.partial(policy, greedy=True), compiler_options=small.QUICK)
    after, record, _ = run(params, begun.replace(plan=plan), obs, first, jax.random.split(jax.random.key(0), 3))
    np.testing.assert_array_equal(after.plan[0::2, :2], plan[0::2, 1:])
    np.testing.assert_array_equal(after.plan[1], 0)
    np.testing.assert_array_equal(record, after.plan[:, 0])
    kept, _, _ = agent.policy(params, after, obs, first, jax.random.split(jax.random.key(0), 3), greedy=True)
    np.testing.assert_array_equal(kept.plan[0], after.plan[0])


# The true rules, on a board as wide as the I is long: it clears a line at once where it lies flat.

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
    actor = Head(lambda key, feat: {}, lambda params, feat: jnp.zeros((*feat.shape[:-1], 24)), None)
    return networks_of(seeing_model())._replace(actor=actor)


def test_the_true_rules_are_the_engines_and_unseen_pieces_are_not_foreseen(rules_networks):
    config = make_tiny_config(loss={"gamma": 0.9})
    params = NO_PARAMS
    simulator = rules_simulator(rules_networks, config, TETRIS, params, RULES)
    game = games([0, 1, 2, 3])
    seen = RSSMState(jnp.zeros((2, 56)), jnp.zeros((2, 1, 1)))

    @functools.partial(jax.jit, compiler_options=small.QUICK)
    def run(game, keys):
        action = jax.nn.one_hot(jnp.array([21, 20]), 24)
        known, reward, discount = simulator.step((game, seen, None), action, keys)
        expected, output = jax.vmap(functools.partial(engine.step, RULES))(game, jnp.array([21, 20]))
        shown = jax.vmap(functools.partial(engine.observe, RULES))(expected)
        return known, reward, discount, output, shown, simulator.outlook(known)[0].parts

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
    config = make_tiny_config(planner={"num_simulations": 16, "considered": 8, "actions": 8})
    policy = make_rules_policy(rules_networks, config, TETRIS, RULES)
    game = games([0, 0, 0])
    carry = Carry(RSSMState(jnp.zeros((2, 56)), jnp.zeros((2, 1, 1))), jnp.zeros((2, 24)))

    @functools.partial(jax.jit, compiler_options=small.QUICK)
    def run(game, keys):
        obs = jax.vmap(functools.partial(engine.observe, RULES))(game)
        _, record, _ = policy(NO_PARAMS, carry, {**obs, GAME: game}, jnp.ones(2, bool), keys, greedy=True)
        return record, legal(obs), jax.vmap(functools.partial(engine.step, RULES))(game, record[:, 0])[1]

    record, mask, output = run(game, jax.random.split(jax.random.key(0), 2))
    np.testing.assert_array_equal(output.lines_cleared, 1)
    assert mask[np.arange(2), record[:, 0]].all() and legal({}) is None
