"""The agent that plans: tree search or shooting in the latent, from the same ``TrainState`` as the agent that does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dreamjax.agents.acting import Decide
from dreamjax.algorithms.distributions import Policy, action_vector
from dreamjax.algorithms.held_plans import plan_held
from dreamjax.algorithms.planning import Simulator, latent_simulator
from dreamjax.algorithms.shooting import shoot
from dreamjax.algorithms.tree_search import listed, propose, tree_search
from dreamjax.config import Config, ConfigError
from dreamjax.models.heads import Networks
from dreamjax.types import Array, EnvSpec, Params, RSSMState


def plan(
    simulator: Simulator, state: Any, policy: Policy, meant: Array, keys: jax.Array, config: Config, *, greedy: bool
) -> tuple[jax.Array, Array]:
    """The action to take from each of ``N`` states, float32 ``[N, A]``, by ``config.planner.method``, and the plan kept.

    Args:
        state: ``[N, ...]`` of the simulator's. policy: the actor's there, legal in truth. keys: typed ``[N]``, consumed.
        meant: the plan of the step before, where the method keeps one (``algorithms.held_plans``), else None.
        greedy: the best action; else the tree draws its root's candidates with Gumbel noise, which samples from the
            improved policy, and shooting draws from its last fit. Held plans are drawn either way.
    """
    planner, spec = config.planner, policy.spec
    if planner.method == "held":
        held = plan_held(simulator, spec, state, policy.mode(), meant, keys, config)
        return held[:, 0], held
    if planner.method != "gumbel":
        return shoot(simulator, spec, state, policy, keys, planner, greedy=greedy), meant
    split = jax.vmap(jax.random.split)(keys)
    _, value = simulator.outlook(state)
    tried = propose(policy, listed(spec), planner.actions, split[:, 0], noise=not greedy)
    found = tree_search(simulator, spec, state, tried, value, split[:, 1], planner, planner.num_simulations)
    record = jnp.take_along_axis(tried.record, found.chosen[:, None, None], 1)[:, 0]
    return action_vector(spec, record), meant


def initial_plan(config: Config, spec: EnvSpec, num_envs: int) -> Array:
    """What is meant before the first step: float32 ``[num_envs, H, A]`` of zeros, or None where no plan is kept."""
    if config.planner.method != "held":
        return None
    return jnp.zeros((num_envs, config.planner.horizon, spec.action.vector_size))


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
        ConfigError: the tree would try all actions, and they cannot be listed; or classes that may be illegal would be
            held.
    """
    if config.planner.method == "held" and any(part.masked for part in spec.action.parts):
        raise ConfigError(
            "planner.method='held' is not allowed: an action that is legal now may not be later; "
            "'gumbel', 'cem' and 'mppi' are"
        )
    if config.planner.method == "gumbel" and not config.planner.actions and listed(spec.action) is None:
        raise ConfigError("planner.actions=0 is not allowed: there are too many actions to try them all; 2 or more is")

    def decide(
        params: dict[str, Params],
        state: RSSMState,
        obs: Mapping[str, Array],
        policy: Policy,
        meant: Array,
        keys: jax.Array,
        greedy: bool,
    ) -> tuple[jax.Array, Array]:
        model = latent_simulator(networks, config, spec, params) if simulator is None else simulator(params)
        return plan(model, begin(state, obs), policy, meant, keys, config, greedy=greedy)

    return decide
