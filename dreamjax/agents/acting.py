"""From an observation to an action: filtering, which every agent shares, and a decision, which tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import struct

from dreamjax.algorithms.distributions import Policy, action_record, make_policy
from dreamjax.config import Config
from dreamjax.models.encoders import preprocess
from dreamjax.models.heads import Networks
from dreamjax.types import MASK_KEY, Array, EnvSpec, Params, RSSMState

Decide = Callable[
    [dict[str, Params], RSSMState, Mapping[str, Array], Policy, Array, jax.Array, bool], tuple[jax.Array, Array]
]
"""``(params, state, obs, policy, plan, keys, greedy) -> (action vectors [N, A], plan)``: the policy is the actor's at
``state``, legal in truth; the plan is the carry's; ``keys`` are typed ``[N]``, consumed."""


@struct.dataclass
class Carry:
    """What a policy remembers between steps.

    Attributes:
        state: latent, ``[N, ...]``. action: the last action vector, float32 ``[N, A]``.
        plan: what it meant to do from there on, float32 ``[N, H, A]``, where ``planner.method`` keeps that, else None.
    """

    state: RSSMState
    action: Array
    plan: Array = None


def by_policy(
    params: dict[str, Params],
    state: RSSMState,
    obs: Mapping[str, Array],
    policy: Policy,
    plan: Array,
    keys: jax.Array,
    greedy: bool,
) -> tuple[jax.Array, Array]:
    """The actor's own choice: its mode where ``greedy``, else a draw. It plans nothing."""
    return policy.mode() if greedy else policy.sample(keys), plan


def make_acting(networks: Networks, config: Config, spec: EnvSpec, decide: Decide) -> Callable:
    """Builds ``policy(params, carry, obs, is_first, keys, *, greedy)``, see ``dream_agent.Agent.policy``.

    Entries of ``obs`` that ``spec`` does not name are for ``decide`` alone.
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
    ) -> tuple[Carry, jax.Array, RSSMState]:
        split = jax.vmap(jax.random.split)(keys)
        embed = world_model.embed(params["world_model"], preprocess(spec.obs, obs))
        state, _ = world_model.observe(params["world_model"], carry.state, carry.action, embed, is_first, split[:, 0])
        mask = jnp.asarray(obs[MASK_KEY]) > 0 if MASK_KEY in spec.obs else None
        outputs = networks.actor.apply(params["actor"], world_model.feat(state))
        chosen = make_policy(spec.action, outputs, mask, config.actor)
        plan = None if carry.plan is None else jnp.where(is_first[:, None, None], 0.0, carry.plan)
        action, plan = decide(params, state, obs, chosen, plan, split[:, 1], greedy)
        return Carry(state, action, plan), action_record(spec.action, action), state

    return policy
