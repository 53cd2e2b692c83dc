"""Planning by the true rules of Tetris in place of the learned model, to tell the model's errors from the critic's.

The actor's policy and the critic's value are taken at the posterior of the board that truly follows; reward, end and legal
actions are the game's. Pieces that the player cannot see are drawn again at every step, so that none is foreseen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dreamjax.agents.acting import DecisionInputs, make_acting
from dreamjax.agents.planning import make_decision
from dreamjax.algorithms.actions import Policy, action_record
from dreamjax.algorithms.planning.model import PlanningModel, actor_and_critic
from dreamjax.config import Config
from dreamjax.envs.tetris import engine, unseen
from dreamjax.envs.tetris.rules import TetrisConfig, TetrisState
from dreamjax.models.encoders import preprocess
from dreamjax.models.heads import Networks
from dreamjax.types import MASK_KEY, EnvSpec, Params, RSSMState

GAME = "game"
"""The entry of an observation that holds the games' ``TetrisState``."""

RulesState = tuple[TetrisState, RSSMState, Any]
"""The game, its posterior latents, its legal actions (or None)."""


def rules_model(
    networks: Networks, config: Config, spec: EnvSpec, params: dict[str, Params], rules: TetrisConfig, *, peek: bool = False
) -> PlanningModel:  # fmt: skip
    """The true game. ``peek``: with the pieces that truly come."""
    world_model, model = networks.world_model, params["world_model"]

    def step(state: RulesState, action: jax.Array, keys: jax.Array) -> tuple[RulesState, jax.Array, jax.Array]:
        game, latent, _ = state
        split = jax.vmap(jax.random.split)(keys)
        record = action_record(spec.action, action)
        taken = record[:, 0] if len(spec.action.parts) == 1 and spec.action.parts[0].kind == "categorical" else record
        if not peek:  # before the step, which reveals one more piece
            game = jax.vmap(lambda one, key: unseen.redraw(rules, one, key))(game, split[:, 0])
        game, output = jax.vmap(lambda one, a: engine.step(rules, one, a))(game, taken)
        obs = jax.vmap(lambda one: engine.observe(rules, one))(game)
        embed = world_model.embed(model, preprocess(spec.obs, obs))
        never = jnp.zeros(action.shape[0], bool)
        latent, _ = world_model.observe(model, latent, action, embed, never, split[:, 1])
        discount = config.loss.gamma * (1.0 - output.terminated.astype(jnp.float32))
        return (game, latent, legal_actions(obs)), output.reward, discount

    def policy_and_value(state: RulesState) -> tuple[Policy, jax.Array]:
        _, latent, mask = state
        feat = world_model.feat(latent)
        return actor_and_critic(
            networks, spec.action, params, feat, mask, actor=config.actor, symlog_limit=config.loss.symlog_limit
        )

    return PlanningModel(step, policy_and_value)


def legal_actions(obs: Any) -> Any:
    """bool ``[N, C]`` from an observation, or None where it has no mask."""
    return obs[MASK_KEY] > 0 if MASK_KEY in obs else None


def make_rules_policy(
    networks: Networks, config: Config, spec: EnvSpec, rules: TetrisConfig, *, peek: bool = False
) -> Callable:
    """As ``Agent.planner_policy``, by the true rules; ``obs[GAME]`` holds the games."""

    def make_model(inputs: DecisionInputs) -> tuple[PlanningModel, RulesState]:
        model = rules_model(networks, config, spec, inputs.params, rules, peek=peek)
        return model, (inputs.obs[GAME], inputs.state, legal_actions(inputs.obs))

    return make_acting(networks, spec, config.actor, make_decision(networks, config, spec, make_model))
