"""The agent that plans: tree search or shooting in the latent, from the same ``TrainState`` as the agent that does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dreamjax.agents.acting import Decide
from dreamjax.algorithms.distributions import Policy, action_vector
from dreamjax.algorithms.planning import Simulator, latent_simulator
from dreamjax.algorithms.shooting import shoot
from dreamjax.algorithms.tree_search import listed, propose, tree_search
from dreamjax.config import Config, ConfigError
from dreamjax.models.heads import Networks
from dreamjax.types import Array, EnvSpec, Params, RSSMState


def plan(
    simulator: Simulator, state: Any, policy: Policy, keys: jax.Array, config: Config, *, greedy: bool
) -> jax.Array:
    """The action to take from each of ``N`` states, float32 ``[N, A]``, by ``config.planner.method``.

    Args:
        state: ``[N, ...]`` of the simulator's. policy: the actor's there, legal in truth. keys: typed ``[N]``, consumed.
        greedy: the best action; else the tree draws its root's candidates with Gumbel noise, which samples from the
            improved policy, and shooting draws from its last fit.
    """
    planner, spec = config.planner, policy.spec
    if planner.method != "gumbel":
        return shoot(simulator, spec, state, policy, keys, planner, greedy=greedy)
    split = jax.vmap(jax.random.split)(keys)
    _, value = simulator.outlook(state)
    tried = propose(policy, listed(spec), planner.actions, split[:, 0], noise=not greedy)
    found = tree_search(simulator, spec, state, tried, value, split[:, 1], planner, planner.num_simulations)
    record = jnp.take_along_axis(tried.record, found.chosen[:, None, None], 1)[:, 0]
    return action_vector(spec, record)


def make_decision(
    networks: Networks,
    config: Config,
    spec: EnvSpec,
    simulator: Callable[[dict[str, Params]], Simulator] | None = None,
    begin: Callable[[RSSMState, Mapping[str, Array]], Any] = lambda state, obs: state,
) -> Decide:
    """The decision of an agent that plans, for ``acting.make_acting``.

    Args:
        simulator: of parameters; the learned model where none is given. begin: its state from the filtered latent state
            and the observation.

    Raises:
        ConfigError: the tree would try all actions, and they cannot be listed.
    """
    if config.planner.method == "gumbel" and not config.planner.actions and listed(spec.action) is None:
        raise ConfigError("planner.actions=0 is not allowed: there are too many actions to try them all; 2 or more is")

    def decide(
        params: dict[str, Params],
        state: RSSMState,
        obs: Mapping[str, Array],
        policy: Policy,
        keys: jax.Array,
        greedy: bool,
    ) -> jax.Array:
        model = latent_simulator(networks, config, spec, params) if simulator is None else simulator(params)
        return plan(model, begin(state, obs), policy, keys, config, greedy=greedy)

    return decide
