"""Planning with the true rules of Tetris in place of the learned model, to tell the model's errors from the critic's.

Prior and value are the actor's and the critic's at the posterior of the board that truly follows; reward, end and legal
actions are the game's. Pieces that the player does not see are drawn afresh at every step, so that nothing is foreseen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dreamjax.agents.acting import make_acting
from dreamjax.agents.planning_agent import make_decision
from dreamjax.algorithms.distributions import Policy, action_record, make_policy, scalar_decode
from dreamjax.algorithms.planning import Simulator
from dreamjax.config import Config
from dreamjax.envs.tetris import engine, unseen
from dreamjax.envs.tetris.rules import TetrisConfig, TetrisState
from dreamjax.models.encoders import preprocess
from dreamjax.models.heads import Networks
from dreamjax.types import MASK_KEY, EnvSpec, Params, RSSMState

GAME = "game"
"""The entry of an observation that holds the games' ``TetrisState``."""

Known = tuple[TetrisState, RSSMState, Any]  # the game, its posterior, its legal actions (or None)


def rules_simulator(
    networks: Networks, config: Config, spec: EnvSpec, params: dict[str, Params], rules: TetrisConfig, *, peek: bool = False
) -> Simulator:  # fmt: skip
    """The true game: states are ``(TetrisState, RSSMState, mask)``. ``peek``: with the pieces that truly come."""
    world_model, model = networks.world_model, params["world_model"]

    def step(known: Known, action: jax.Array, keys: jax.Array) -> tuple[Known, jax.Array, jax.Array]:
        game, latent, _ = known
        split = jax.vmap(jax.random.split)(keys)
        record = action_record(spec.action, action)
        taken = record[:, 0] if len(spec.action.parts) == 1 and spec.action.parts[0].kind == "categorical" else record
        if not peek:  # before the step, which shows a piece more
            game = jax.vmap(lambda one, key: unseen.redraw(rules, one, key))(game, split[:, 0])
        game, output = jax.vmap(lambda one, a: engine.step(rules, one, a))(game, taken)
        obs = jax.vmap(lambda one: engine.observe(rules, one))(game)
        embed = world_model.embed(model, preprocess(spec.obs, obs))
        never = jnp.zeros(action.shape[0], bool)
        latent, _ = world_model.observe(model, latent, action, embed, never, split[:, 1])
        discount = config.loss.gamma * (1.0 - output.terminated.astype(jnp.float32))
        return (game, latent, legal(obs)), output.reward, discount

    def outlook(known: Known) -> tuple[Policy, jax.Array]:
        _, latent, mask = known
        feat = world_model.feat(latent)
        policy = make_policy(spec.action, networks.actor.apply(params["actor"], feat), mask, config.actor)
        return policy, scalar_decode(networks.critic.apply(params["critic"], feat), config.loss.reach)

    return Simulator(step, outlook)


def legal(obs: Any) -> Any:
    """bool ``[N, C]`` from an observation, or None where it has no mask."""
    return obs[MASK_KEY] > 0 if MASK_KEY in obs else None


def make_rules_policy(
    networks: Networks, config: Config, spec: EnvSpec, rules: TetrisConfig, *, peek: bool = False
) -> Callable:
    """As ``Agent.planner_policy``, by the true rules; ``obs[GAME]`` holds the games."""
    return make_acting(
        networks,
        config,
        spec,
        make_decision(
            networks,
            config,
            spec,
            lambda params: rules_simulator(networks, config, spec, params, rules, peek=peek),
            lambda state, obs: (obs[GAME], state, legal(obs)),
        ),
    )
