"""What is planned in: a model of one step, and what actor and critic say of its states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from dreamjax.algorithms.distributions import Policy, make_policy, scalar_decode
from dreamjax.algorithms.exploration import NOVELTY, heed, state_disagreement
from dreamjax.algorithms.search import arrival
from dreamjax.config import Config
from dreamjax.models.heads import Networks
from dreamjax.types import EnvSpec, Params, RSSMState


class Simulator(NamedTuple):
    """Pure functions of ``N`` states, whatever these are.

    Attributes:
        step: ``(state, action [N, A], keys [N]) -> (state, reward [N], discount [N])``; the reward is received on arriving,
            the discount is 0 where nothing follows.
        outlook: ``(state) -> (policy, value [N])``; illegal actions have probability 0.
    """

    step: Callable[[Any, jax.Array, jax.Array], tuple[Any, jax.Array, jax.Array]]
    outlook: Callable[[Any], tuple[Policy, jax.Array]]


def latent_simulator(
    networks: Networks, config: Config, spec: EnvSpec, params: dict[str, Params], critic: Params | None = None
) -> Simulator:
    """The learned model: states are ``RSSMState``, rewards predicted means, legal actions those predicted (above one half).

    Args:
        params: of ``TrainState``; disagreement is paid for, or ends what is planned, with what
            ``exploration.planning_params`` or, for an explorer, ``collecting_explorer`` adds.
        critic: parameters of the critic, where not those in ``params``.
    """
    world_model, model = networks.world_model, params["world_model"]
    critic = params["critic"] if critic is None else critic

    def step(state: RSSMState, action: jax.Array, keys: jax.Array) -> tuple[RSSMState, jax.Array, jax.Array]:
        following, _ = world_model.imagine(model, state, action, keys)
        reward, discount = arrival(world_model, model, world_model.feat(following), config)
        if NOVELTY in params:
            assert networks.ensemble is not None
            disagreed = state_disagreement(world_model, networks.ensemble, params, state, action)
            reward, discount = heed(reward, discount, disagreed, params[NOVELTY])
        return following, reward, discount

    def outlook(state: RSSMState) -> tuple[Policy, jax.Array]:
        feat = world_model.feat(state)
        mask = None if world_model.mask is None else world_model.mask(model, feat) > 0
        policy = make_policy(spec.action, networks.actor.apply(params["actor"], feat), mask, config.actor)
        return policy, scalar_decode(networks.critic.apply(critic, feat), config.loss.reach)

    return Simulator(step, outlook)
