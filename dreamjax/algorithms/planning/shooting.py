"""Planning by shooting: sequences of actions, tried in a model of one step and refitted round by round.

CEM (Rubinstein 1999; in a latent model PlaNet, Hafner et al. 2019) refits a product of distributions, one for each step and
part of the action, to the best sequences; MPPI (Williams et al. 2017; in a latent model TD-MPC, Hansen et al. 2022) to all
of them, weighted by the softmax of their returns. Bits are Bernoulli, classes categorical, numbers normal.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.algorithms.distributions import Policy, PolicyPart
from dreamjax.algorithms.planning.model import PlanningModel
from dreamjax.algorithms.randomness import step_keys
from dreamjax.config import PlannerConfig
from dreamjax.types import ActionSpec

LEAST_STD = 0.05  # of refitted normals, so that later rounds still search


def widest(spec: ActionSpec, rows: int, horizon: int) -> Policy:
    """Where nothing is known: even odds, even classes, normals with mean 0 and deviation 1; ``[rows, horizon, size]``."""
    parts = []
    for part in spec.parts:
        ones = jnp.ones((rows, horizon, part.size))
        if part.kind == "continuous":
            parts.append(PolicyPart(mean=0 * ones, std=ones))
        else:
            parts.append(PolicyPart(probs=ones / (part.size if part.kind == "categorical" else 2)))
    return Policy(spec, tuple(parts))


def masked(shot: Policy, policy: Policy) -> Policy:
    """``shot`` without the classes that ``policy`` knows to be illegal (even odds where that leaves none); both ``[N]``."""
    parts = []
    for part, mine, theirs in zip(shot.spec.parts, shot.parts, policy.parts, strict=True):
        if part.masked:
            legal = (theirs.probs > 0).astype(jnp.float32)
            probs = mine.probs * legal
            total = jnp.sum(probs, -1, keepdims=True)
            share = legal / jnp.sum(legal, -1, keepdims=True)
            mine = PolicyPart(probs=jnp.where(total > 0, probs / jnp.where(total > 0, total, 1.0), share))
        parts.append(mine)
    return Policy(shot.spec, tuple(parts))


def rollout(
    model: PlanningModel,
    state: Any,
    shots: Policy,
    shared_keys: jax.Array,
    keys: jax.Array,
    by_actor: jax.Array,
    first: Policy,
) -> tuple[jax.Array, jax.Array]:
    """One sequence from each of ``M`` states: actions ``[M, H, A]`` and returns ``[M]`` that end with the critic's value.

    Args:
        state: ``[M, ...]``. shots: what each step is drawn from, ``[M, H, size]``, before what is illegal is left out.
        shared_keys, keys: typed ``[M]``, folded by step: of the model's steps, and of the draws.
        by_actor: bool ``[M]``, rows that follow the actor instead. first: the actor's policy, under the true mask.
    """
    horizon = jax.tree.leaves(shots.parts)[0].shape[1]

    def step(carry: tuple[Any, ...], inputs: tuple[jax.Array, Any]) -> tuple[tuple[Any, ...], Any]:
        state, parts, total, weight = carry
        t, shot = inputs
        policy = Policy(shots.spec, parts)
        shot = masked(Policy(shots.spec, shot), policy)
        split = jax.vmap(jax.random.split)(step_keys(keys, t))
        action = jnp.where(by_actor[:, None], policy.sample(split[:, 0]), shot.sample(split[:, 1]))
        action = bounded(shots.spec, action)
        state, reward, discount = model.step(state, action, step_keys(shared_keys, t))
        policy, value = model.policy_and_value(state)
        carry = state, policy.parts, total + weight * reward, weight * discount
        return carry, (action, value)

    ones = jnp.ones(by_actor.shape)
    by_step = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), shots.parts)
    start = (state, first.parts, 0 * ones, ones)
    (_, _, total, weight), (actions, values) = jax.lax.scan(step, start, (jnp.arange(horizon), by_step))
    return jnp.swapaxes(actions, 0, 1), total + weight * values[-1]


def bounded(spec: ActionSpec, action: jax.Array) -> jax.Array:
    """Continuous dimensions within [-1, 1], where the environment takes them."""
    continuous = np.concatenate([np.full(part.size, part.kind == "continuous") for part in spec.parts])
    return jnp.where(continuous[None], jnp.clip(action, -1, 1), action)


def refit(spec: ActionSpec, actions: jax.Array, weight: jax.Array) -> Policy:
    """The product of distributions nearest to weighted sequences (greatest likelihood): ``[N, H, size]``.

    Args:
        actions: ``[N, C, H, A]``. weight: float32 ``[N, C]``, sums to 1 over ``C``.
    """
    mean = jnp.einsum("nc,ncha->nha", weight, actions)
    variance = jnp.einsum("nc,ncha->nha", weight, jnp.square(actions - mean[:, None]))
    parts, start = [], 0
    for part in spec.parts:
        here = slice(start, start + part.size)
        start += part.size
        if part.kind == "continuous":
            parts.append(PolicyPart(mean=mean[..., here], std=jnp.maximum(jnp.sqrt(variance[..., here]), LEAST_STD)))
        else:
            parts.append(PolicyPart(probs=mean[..., here]))
    return Policy(spec, tuple(parts))


def shoot(
    model: PlanningModel,
    spec: ActionSpec,
    state: Any,
    policy: Policy,
    keys: jax.Array,
    config: PlannerConfig,
    *,
    greedy: bool,
) -> jax.Array:
    """The first action of a planned sequence for each of ``N`` states: float32 ``[N, A]``. Nothing is differentiated.

    All sequences of a state, of every round, share the keys of their steps (common random numbers). The best sequence so
    far stays among the candidates. CEM takes its first action; MPPI takes the mode of the last fit; if not ``greedy``,
    both draw from that fit.

    Args:
        state: ``[N, ...]``. policy: the actor's at ``state``, under the true mask. keys: typed ``[N]``, consumed.
    """
    rows, count = keys.shape[0], config.candidates
    shared_keys, draws, last_keys = (jax.vmap(jax.random.fold_in, (0, None))(keys, i) for i in range(3))
    round_keys = jax.vmap(step_keys, (None, 0))(draws, jnp.arange(config.iterations))
    repeat = lambda x: jnp.repeat(x, count, 0, total_repeat_length=rows * count)  # noqa: E731
    states, first, shared_keys = jax.tree.map(repeat, (state, policy.parts, shared_keys))
    first = Policy(spec, first)
    by_actor = jnp.arange(rows * count) % count < round(config.policy_share * count)
    number = jnp.tile(jnp.arange(count), rows)

    def round_(carry: tuple[Any, ...], keys: jax.Array) -> tuple[tuple[Any, ...], None]:
        parts, best, best_return = carry
        drawn = jax.vmap(jax.random.fold_in)(repeat(keys), number)
        shot = Policy(spec, jax.tree.map(repeat, parts))
        actions, returns = rollout(model, states, shot, shared_keys, drawn, by_actor, first)
        actions, returns = actions.reshape(rows, count, *actions.shape[1:]), returns.reshape(rows, count)
        actions = jnp.concatenate([best[:, None], actions], 1)
        returns = jnp.concatenate([best_return[:, None], returns], 1)
        if config.method == "cem":
            _, index = jax.lax.top_k(returns, config.elites)
            weight = jnp.sum(jax.nn.one_hot(index, count + 1), 1) / config.elites
        else:
            known = jnp.isfinite(returns)
            mean = jnp.sum(jnp.where(known, returns, 0.0), 1, keepdims=True) / jnp.sum(known, 1, keepdims=True)
            off = jnp.where(known, returns - mean, 0.0)
            spread = jnp.sqrt(jnp.sum(jnp.square(off), 1, keepdims=True) / jnp.sum(known, 1, keepdims=True) + 1e-8)
            weight = jax.nn.softmax(jnp.where(known, off / spread / config.temperature, -jnp.inf))
        index = jnp.argmax(returns, 1)
        best = jnp.take_along_axis(actions, index[:, None, None, None], 1)[:, 0]
        return (refit(spec, actions, weight).parts, best, jnp.max(returns, 1)), None

    nothing = jnp.zeros((rows, config.horizon, spec.vector_size))
    start = (widest(spec, rows, config.horizon).parts, nothing, jnp.full(rows, -jnp.inf))
    (parts, best, _), _ = jax.lax.scan(round_, start, round_keys)
    last = masked(Policy(spec, jax.tree.map(lambda x: x[:, 0], parts)), policy)
    if not greedy:
        action = last.sample(last_keys)
    else:
        action = best[:, 0] if config.method == "cem" else last.mode()
    return jax.lax.stop_gradient(bounded(spec, action))
