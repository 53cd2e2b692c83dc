"""The agent that plans before every step, from the same ``TrainState`` as the agent that does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dreamjax.agents.acting import Decide, DecisionInputs
from dreamjax.algorithms.planning.candidates import joint_actions, joint_actions_or_none
from dreamjax.algorithms.planning.model import PlanningModel, latent_model
from dreamjax.algorithms.planning.one_step import plan_one_step
from dreamjax.algorithms.planning.piecewise import plan_piecewise
from dreamjax.algorithms.planning.shooting import plan_cem
from dreamjax.algorithms.planning.tree import plan_tree
from dreamjax.config import ActorConfig, Config, ConfigError, PlannerConfig
from dreamjax.models.heads import Networks
from dreamjax.types import ActionSpec, Array, EnvSpec


def plan(
    model: PlanningModel, state: Any, inputs: DecisionInputs, planner: PlannerConfig, actor: ActorConfig
) -> tuple[jax.Array, Array]:
    """The action to take, float32 ``[N, A]``, by ``planner.method``, and the plan to carry.

    If not ``inputs.greedy`` an action is drawn: by one step from a softmax of its values, by the tree from the improved
    policy, by CEM from the last fit. Piecewise-constant sequences are drawn either way, and the best one is taken.

    Args:
        state: ``[N, ...]``, the model's for ``inputs.state``.
    """
    policy, keys, greedy = inputs.policy, inputs.keys, inputs.greedy
    if planner.method == "piecewise":
        sequence = plan_piecewise(
            model, policy.spec, state, policy.mode(), inputs.plan, keys,
            count=planner.candidates, binary_bias=actor.binary_bias,
        )  # fmt: skip
        return sequence[:, 0], sequence
    if planner.method == "one_step":
        joint = joint_actions(policy.spec)
        return plan_one_step(model, state, policy, keys, planner, joint=joint, greedy=greedy), inputs.plan
    if planner.method == "gumbel":
        return plan_tree(model, state, policy, keys, planner, greedy=greedy), inputs.plan
    return plan_cem(model, state, policy, keys, planner, greedy=greedy), inputs.plan


def initial_plan(planner: PlannerConfig, spec: ActionSpec, num_envs: int) -> Array:
    """The plan before the first step: float32 ``[num_envs, H, A]`` of zeros, or None where no plan is kept."""
    if planner.method != "piecewise":
        return None
    return jnp.zeros((num_envs, planner.horizon, spec.vector_size))


def check_planner(planner: PlannerConfig, spec: ActionSpec) -> None:
    """Raises ConfigError where ``planner`` does not fit the action space.

    The tree would try all actions, or one step would, and they cannot be listed; or a piecewise-constant sequence would
    keep a class that may become illegal.
    """
    if planner.method == "piecewise" and any(part.masked for part in spec.parts):
        raise ConfigError(
            "planner.method='piecewise' is not allowed: an action that is legal now may be illegal later; "
            "'gumbel', 'one_step' and 'cem' are"
        )
    if planner.method == "gumbel" and not planner.actions and joint_actions_or_none(spec) is None:
        raise ConfigError("planner.actions=0 is not allowed: there are too many actions to try them all; 2 or more is")
    if planner.method == "one_step":
        try:
            joint_actions(spec)
        except ValueError as error:
            raise ConfigError(f"planner.method='one_step' is not allowed: {error}; 'gumbel' is allowed") from None


def make_decision(
    networks: Networks,
    config: Config,
    spec: EnvSpec,
    make_model: Callable[[DecisionInputs], tuple[PlanningModel, Any]] | None = None,
) -> Decide:
    """The decision of an agent that plans, for ``acting.make_acting``.

    Args:
        make_model: the model and its state from the inputs; None for the learned model at the filtered latents.

    Raises:
        ConfigError: the planner does not fit the action space, see ``check_planner``.
    """
    check_planner(config.planner, spec.action)

    def learned(inputs: DecisionInputs) -> tuple[PlanningModel, Any]:
        model = latent_model(
            networks, spec, inputs.params, actor=config.actor, loss=config.loss, disagreement=inputs.disagreement
        )
        return model, inputs.state

    def decide(inputs: DecisionInputs) -> tuple[jax.Array, Array]:
        model, state = (make_model or learned)(inputs)
        return plan(model, state, inputs, config.planner, config.actor)

    return decide
