"""Planning by shooting: the cross-entropy method over sequences of actions.

CEM (Rubinstein 1999; in a latent model PlaNet, Hafner et al. 2019) draws sequences from a product of distributions, one for
each step and part of the action, and refits it to the best of them, round by round. Bits are Bernoulli, classes
categorical, numbers normal.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.algorithms.actions import Policy, PolicyPart
from dreamjax.algorithms.planning.model import PlanningModel
from dreamjax.algorithms.randomness import step_keys
from dreamjax.config import PlannerConfig
from dreamjax.types import ActionSpec

MIN_STD = 0.05  # of refitted normals, so that later rounds still search


def uninformed(spec: ActionSpec, rows: int, horizon: int) -> Policy:
    """The proposal of the first round: fair bits, uniform classes, standard normals; ``[rows, horizon, size]``."""
    parts = []
    for part in spec.parts:
        ones = jnp.ones((rows, horizon, part.size))
        if part.kind == "continuous":
            parts.append(PolicyPart(mean=0 * ones, std=ones))
        else:
            parts.append(PolicyPart(probs=ones / (part.size if part.kind == "categorical" else 2)))
    return Policy(spec, tuple(parts))


def masked(proposal: Policy, policy: Policy) -> Policy:
    """``proposal`` without the classes that are illegal in ``policy``, uniform where no legal one is left; both ``[N]``."""
    parts = []
    for part, proposed, actor in zip(proposal.spec.parts, proposal.parts, policy.parts, strict=True):
        if part.masked:
            legal = (actor.probs > 0).astype(jnp.float32)
            probs = proposed.probs * legal
            total = jnp.sum(probs, -1, keepdims=True)
            uniform = legal / jnp.sum(legal, -1, keepdims=True)
            proposed = PolicyPart(probs=jnp.where(total > 0, probs / jnp.where(total > 0, total, 1.0), uniform))
        parts.append(proposed)
    return Policy(proposal.spec, tuple(parts))


def rollout(
    model: PlanningModel,
    state: Any,
    proposal: Policy,
    shared_keys: jax.Array,
    keys: jax.Array,
    by_actor: jax.Array,
    first: Policy,
) -> tuple[jax.Array, jax.Array]:
    """One sequence from each of ``M`` states: actions ``[M, H, A]``, and returns ``[M]`` that end with the critic's value.

    Args:
        state: ``[M, ...]``. proposal: the distribution of each step, ``[M, H, size]``; illegal classes are masked here.
        shared_keys, keys: typed ``[M]``, folded by step: of the model's steps, and of the draws.
        by_actor: bool ``[M]``, rows that follow the actor instead. first: the actor's policy, under the true mask.
    """
    horizon = jax.tree.leaves(proposal.parts)[0].shape[1]

    def step(carry: tuple[Any, ...], inputs: tuple[jax.Array, Any]) -> tuple[tuple[Any, ...], Any]:
        state, parts, total, weight = carry
        t, proposed = inputs
        policy = Policy(proposal.spec, parts)
        proposed = masked(Policy(proposal.spec, proposed), policy)
        split = jax.vmap(jax.random.split)(step_keys(keys, t))
        action = jnp.where(by_actor[:, None], policy.sample(split[:, 0]), proposed.sample(split[:, 1]))
        action = bounded(proposal.spec, action)
        state, reward, discount = model.step(state, action, step_keys(shared_keys, t))
        policy, value = model.policy_and_value(state)
        carry = state, policy.parts, total + weight * reward, weight * discount
        return carry, (action, value)

    ones = jnp.ones(by_actor.shape)
    by_step = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), proposal.parts)
    start = (state, first.parts, 0 * ones, ones)
    (_, _, total, weight), (actions, values) = jax.lax.scan(step, start, (jnp.arange(horizon), by_step))
    return jnp.swapaxes(actions, 0, 1), total + weight * values[-1]


def bounded(spec: ActionSpec, action: jax.Array) -> jax.Array:
    """``action [M, A]`` with its continuous dimensions clipped to [-1, 1], the range that environments take."""
    continuous = np.concatenate([np.full(part.size, part.kind == "continuous") for part in spec.parts])
    return jnp.where(continuous[None], jnp.clip(action, -1, 1), action)


def refit(spec: ActionSpec, actions: jax.Array, weight: jax.Array) -> Policy:
    """The product of distributions of greatest likelihood for weighted sequences: ``[N, H, size]``.

    Args:
        actions: ``[N, C, H, A]``. weight: float32 ``[N, C]``, sums to 1 over ``C``.
    """
    mean = jnp.einsum("nc,ncha->nha", weight, actions)
    variance = jnp.einsum("nc,ncha->nha", weight, jnp.square(actions - mean[:, None]))
    parts = []
    for part, here in zip(spec.parts, spec.slices("vector"), strict=True):
        if part.kind == "continuous":
            parts.append(PolicyPart(mean=mean[..., here], std=jnp.maximum(jnp.sqrt(variance[..., here]), MIN_STD)))
        else:
            parts.append(PolicyPart(probs=mean[..., here]))
    return Policy(spec, tuple(parts))


def plan_cem(
    model: PlanningModel, state: Any, policy: Policy, keys: jax.Array, config: PlannerConfig, *, greedy: bool
) -> jax.Array:
    """The action to take from each of ``N`` states, float32 ``[N, A]``. Nothing is differentiated.

    It is the first action of the best sequence if ``greedy``, else a draw from the last fit. All sequences of a state, of
    every round, share the keys of their steps (common random numbers). The best sequence so far stays a candidate.

    Args:
        state: ``[N, ...]``. policy: the actor's at ``state``, under the true mask. keys: typed ``[N]``, consumed.
    """
    spec, rows, count = policy.spec, keys.shape[0], config.candidates
    shared_keys, draw_keys, last_keys = (jax.vmap(jax.random.fold_in, (0, None))(keys, i) for i in range(3))
    round_keys = jax.vmap(step_keys, (None, 0))(draw_keys, jnp.arange(config.iterations))
    repeat = lambda x: jnp.repeat(x, count, 0, total_repeat_length=rows * count)  # noqa: E731
    states, first, shared_keys = jax.tree.map(repeat, (state, policy.parts, shared_keys))
    by_actor = jnp.arange(rows * count) % count < round(config.policy_share * count)
    number = jnp.tile(jnp.arange(count), rows)

    def refine(carry: tuple[Any, ...], keys: jax.Array) -> tuple[tuple[Any, ...], None]:
        parts, best, best_return = carry
        own_keys = jax.vmap(jax.random.fold_in)(repeat(keys), number)
        proposal = Policy(spec, jax.tree.map(repeat, parts))
        actions, returns = rollout(model, states, proposal, shared_keys, own_keys, by_actor, Policy(spec, first))
        actions, returns = actions.reshape(rows, count, *actions.shape[1:]), returns.reshape(rows, count)
        actions = jnp.concatenate([best[:, None], actions], 1)
        returns = jnp.concatenate([best_return[:, None], returns], 1)
        _, elites = jax.lax.top_k(returns, config.elites)
        weight = jnp.sum(jax.nn.one_hot(elites, count + 1), 1) / config.elites
        best = jnp.take_along_axis(actions, jnp.argmax(returns, 1)[:, None, None, None], 1)[:, 0]
        return (refit(spec, actions, weight).parts, best, jnp.max(returns, 1)), None

    none_yet = jnp.zeros((rows, config.horizon, spec.vector_size))
    start = (uninformed(spec, rows, config.horizon).parts, none_yet, jnp.full(rows, -jnp.inf))
    (parts, best, _), _ = jax.lax.scan(refine, start, round_keys)
    action = best[:, 0]
    if not greedy:
        action = masked(Policy(spec, jax.tree.map(lambda x: x[:, 0], parts)), policy).sample(last_keys)
    return jax.lax.stop_gradient(bounded(spec, action))
