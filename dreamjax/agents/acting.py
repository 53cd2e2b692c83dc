"""Acting: filtering, which every agent shares, and a decision, in which agents differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from dreamjax.algorithms.actions import Policy, action_record, make_policy
from dreamjax.algorithms.planning.model import DisagreementWeights
from dreamjax.config import ActorConfig
from dreamjax.models.encoders import preprocess
from dreamjax.models.heads import Networks
from dreamjax.types import MASK_KEY, Array, EnvSpec, Params, RSSMState


class DecisionInputs(NamedTuple):
    """Everything that a decision depends on, for ``N`` rows.

    Attributes:
        params: ``TrainState.params``. state: filtered latents ``[N, ...]``. obs: observations, as ``policy`` got them.
        policy: the actor's at ``state``, under the true mask. plan: the carry's, or None.
        keys: typed ``[N]``, consumed. greedy: static; take the best action rather than a draw.
        disagreement: weights for an explorer's planner, or None.
    """

    params: dict[str, Params]
    state: RSSMState
    obs: Mapping[str, Array]
    policy: Policy
    plan: Array
    keys: jax.Array
    greedy: bool
    disagreement: DisagreementWeights | None = None


Decide = Callable[[DecisionInputs], tuple[jax.Array, Array]]
"""Gives the action vectors float32 ``[N, A]`` and the plan to carry."""


@struct.dataclass
class Carry:
    """What a policy remembers between steps.

    Attributes:
        state: latent, ``[N, ...]``. action: the last action vector, float32 ``[N, A]``.
        plan: the last plan, float32 ``[N, H, A]``, where ``planner.method`` keeps one, else None.
    """

    state: RSSMState
    action: Array
    plan: Array = None


def decide_by_policy(inputs: DecisionInputs) -> tuple[jax.Array, Array]:
    """The actor's own choice: its mode if ``greedy``, else a draw."""
    policy = inputs.policy
    return policy.mode() if inputs.greedy else policy.sample(inputs.keys), inputs.plan


def make_acting(networks: Networks, spec: EnvSpec, actor: ActorConfig, decide: Decide) -> Callable:
    """Builds ``policy(params, carry, obs, is_first, keys, *, greedy, disagreement=None) -> (carry, record, state)``.

    See ``Agent.policy``. Entries of ``obs`` that ``spec`` does not name are for ``decide`` alone.
    """
    world_model = networks.world_model

    def policy(
        params: dict[str, Params],
        carry: Carry,
        obs: Mapping[str, Array],
        is_first: Array,
        keys: jax.Array,
        *,
        greedy: bool,
        disagreement: DisagreementWeights | None = None,
    ) -> tuple[Carry, jax.Array, RSSMState]:
        split = jax.vmap(jax.random.split)(keys)
        embed = world_model.embed(params["world_model"], preprocess(spec.obs, obs))
        state, _ = world_model.observe(params["world_model"], carry.state, carry.action, embed, is_first, split[:, 0])
        mask = jnp.asarray(obs[MASK_KEY]) > 0 if MASK_KEY in spec.obs else None
        outputs = networks.actor.apply(params["actor"], world_model.feat(state))
        chosen = make_policy(spec.action, outputs, mask, actor)
        plan = None if carry.plan is None else jnp.where(is_first[:, None, None], 0.0, carry.plan)
        inputs = DecisionInputs(params, state, obs, chosen, plan, split[:, 1], greedy=greedy, disagreement=disagreement)
        action, plan = decide(inputs)
        return Carry(state, action, plan), action_record(spec.action, action), state

    return policy
