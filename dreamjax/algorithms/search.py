"""One step of search in the learned model: every action of a state tried, and what that teaches actor and critic.

``Q(s, a) = r(s') + gamma c(s') V(s')`` with ``s'`` imagined. All actions of a state share the randomness of ``s'``, so
that luck does not tell them apart. The improved policy ``softmax(Q / temperature + prior log pi)`` over the candidates is
the target of the actor (policy improvement with the regularised maximum, Grill et al. 2020); its value, corrected along
the replayed window by tree backup (Precup et al. 2000), is the target of the critic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.algorithms.distributions import Policy, scalar_decode
from dreamjax.config import Config
from dreamjax.types import ActionSpec, Params, RSSMState, WorldModel

MAX_JOINT = 4096  # joint actions that are listed one by one
NEVER = -1e9


class Candidates(NamedTuple):
    """Actions to try: vectors ``[N, K, A]``, their joint log-probability ``[N, K]`` and whether they are legal."""

    action: jax.Array
    log_prob: jax.Array
    legal: jax.Array


class Searched(NamedTuple):
    """What a search found, all float32: ``q [N, K]``, the improved policy ``weight [N, K]``, its ``value [N]``."""

    q: jax.Array
    weight: jax.Array
    value: jax.Array


def joint_actions(spec: ActionSpec) -> np.ndarray:
    """Every action vector of a finite action space, float32 ``[M, A]``.

    Raises:
        ValueError: if a part is continuous, or there are more than ``MAX_JOINT``.
    """
    rows = np.zeros((1, 0), np.float32)
    for part in spec.parts:
        if part.kind == "continuous":
            raise ValueError("search tries every action, and a continuous action space has no end of them")
        count = part.size if part.kind == "categorical" else 2**part.size
        if count * len(rows) > MAX_JOINT:
            raise ValueError(f"search tries every action, and there are more than {MAX_JOINT}")
        if part.kind == "categorical":
            choices = np.eye(part.size, dtype=np.float32)
        else:
            choices = (np.arange(count)[:, None] >> np.arange(part.size) & 1).astype(np.float32)
        rows = np.concatenate([np.repeat(rows, count, 0), np.tile(choices, (len(rows), 1))], 1)
    return rows


def joint_log_prob(policy: Policy, joint: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Log-probability float32 ``[N, M]`` of each joint action and whether it is legal, bool ``[N, M]``."""
    total: jax.Array | None = None
    illegal: jax.Array | None = None
    start = 0
    for part, values in zip(policy.spec.parts, policy.parts, strict=True):
        chosen = joint[:, start : start + part.size].T
        start += part.size
        log_p = jnp.log(jnp.maximum(values.probs, 1e-20))
        term = log_p @ chosen
        if part.kind == "binary":
            term += jnp.log(jnp.maximum(1 - values.probs, 1e-20)) @ (1 - chosen)
        else:
            zero = (values.probs <= 0).astype(jnp.float32) @ chosen > 0.5
            illegal = zero if illegal is None else illegal | zero
        total = term if total is None else total + term
    assert total is not None
    return total, jnp.ones(total.shape, bool) if illegal is None else ~illegal


class Ranked(NamedTuple):
    """The first ``K`` of all joint actions by some score, ``[N, K]``: place in the list int32, log-probability,
    whether they are legal, and the Gumbel noise they were drawn with."""

    place: jax.Array
    log_prob: jax.Array
    legal: jax.Array
    noise: jax.Array


def rank_actions(
    policy: Policy, joint: np.ndarray, count: int, keys: jax.Array | None, taken: jax.Array | None = None
) -> Ranked:
    """The ``K = count`` actions to try at each of ``N`` states, drawn without replacement by the policy.

    By the Gumbel top-k trick (Kool et al. 2019); all legal actions where there are no more than ``count``.

    Args:
        policy: of ``N`` states. joint: float32 ``[M, A]``, all actions.
        keys: typed ``[N]``, consumed; None takes the most likely ones.
        taken: float32 ``[N, A]``, an action that comes first in every row, or None.
    """
    log_prob, legal = joint_log_prob(policy, joint)
    noise = jnp.zeros_like(log_prob)
    if keys is not None:
        noise = jax.vmap(lambda key: jax.random.gumbel(key, (joint.shape[0],)))(keys)
    score = jnp.where(legal, log_prob + noise, NEVER)
    if taken is not None:
        # Hamming distance by one product: all entries are 0 or 1.
        distance = jnp.sum(taken, 1)[:, None] + jnp.sum(joint, 1)[None] - 2 * taken @ joint.T
        score = jnp.where(distance < 0.5, -NEVER, score)
    _, index = jax.lax.top_k(score, min(count, joint.shape[0]))
    pick = lambda x: jnp.take_along_axis(x, index, 1)  # noqa: E731
    return Ranked(index, pick(log_prob), pick(legal), pick(noise))


def candidates(
    policy: Policy, joint: np.ndarray, count: int, keys: jax.Array | None, taken: jax.Array | None = None
) -> Candidates:
    """What ``rank_actions`` finds, as action vectors."""
    ranked = rank_actions(policy, joint, count, keys, taken)
    return Candidates(jnp.asarray(joint)[ranked.place], ranked.log_prob, ranked.legal)


def standardise(q: jax.Array, legal: jax.Array) -> jax.Array:
    """``q [N, K]`` minus its mean over each state's legal candidates, in units of their standard deviation.

    So that a temperature means the same whatever rewards are worth, early and late in learning.
    """
    share = legal / jnp.maximum(jnp.sum(legal, 1, keepdims=True), 1)
    mean = jnp.sum(share * q, 1, keepdims=True)
    variance = jnp.sum(share * jnp.square(q - mean), 1, keepdims=True)
    return (q - mean) / jnp.sqrt(variance + 1e-8)


def arrival(world_model: WorldModel, params: Params, feat: jax.Array, config: Config) -> tuple[jax.Array, jax.Array]:
    """Predicted on arriving at ``feat [..., F]``: the mean reward, and the discount of what follows, float32 ``[...]``."""
    cont = jax.nn.sigmoid(world_model.cont(params, feat))
    if config.loss.cont_discount:
        cont = jnp.minimum(cont / config.loss.gamma, 1.0)
    return scalar_decode(world_model.reward(params, feat), config.loss.reach), config.loss.gamma * cont


def evaluate_candidates(
    world_model: WorldModel,
    params: Params,
    value_fn: Callable[[jax.Array], jax.Array],
    state: RSSMState,
    tried: Candidates,
    keys: jax.Array,
    config: Config,
    *,
    bootstrap: float = 1.0,
) -> Searched:
    """Imagines each candidate's next state and weighs the candidates. Nothing here is differentiated.

    Args:
        world_model, params: the world model. value_fn: features ``[M, F]`` to values ``[M]``.
        state: ``[N, ...]``. tried: ``K`` candidates each. keys: typed ``[N]``, consumed, one for all of a state's.
        bootstrap: weight of the value in ``Q``.
    """
    n, k = tried.legal.shape
    repeat = lambda x: jnp.repeat(x, k, 0, total_repeat_length=n * k)  # noqa: E731
    following, _ = world_model.imagine(
        params, jax.tree.map(repeat, state), tried.action.reshape(n * k, -1), repeat(keys)
    )
    feat = world_model.feat(following)
    reward, discount = arrival(world_model, params, feat, config)
    q = (reward + bootstrap * discount * value_fn(feat)).reshape(n, k)
    q = jax.lax.stop_gradient(q)
    score = config.search.prior * tried.log_prob + standardise(q, tried.legal) / config.search.temperature
    weight = jax.nn.softmax(jnp.where(tried.legal, score, NEVER))
    weight = jnp.where(jnp.any(tried.legal, 1, keepdims=True), weight, 0.0)
    weight = jax.lax.stop_gradient(weight)
    return Searched(q, weight, jnp.sum(weight * q, 1))


def tree_backup(
    searched_value: jax.Array,
    taken_q: jax.Array,
    taken_weight: jax.Array,
    reward: jax.Array,
    is_last: jax.Array,
    is_terminal: jax.Array,
    *,
    gamma: float,
    lam: float,
) -> jax.Array:
    """Values of the improved policy from searched values and what really happened (tree backup, Precup et al. 2000).

    ``G[t] = v[t] + lam w[t] (r[t+1] + gamma c[t+1] G[t+1] - q[t])``, ``G[T-1] = v[T-1]``, with ``w`` the improved policy's
    weight of the action taken; nothing is carried over the end of an episode.

    Args:
        searched_value, taken_q, taken_weight, reward: float32 ``[B, T]``. is_last, is_terminal: bool ``[B, T]``.
    """
    chex.assert_equal_shape([searched_value, taken_q, taken_weight, reward])
    trace = lam * taken_weight * (1.0 - is_last.astype(jnp.float32))
    discount = gamma * (1.0 - is_terminal.astype(jnp.float32))

    def step(following: jax.Array, inputs: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        value, q, mix, reward_next, discount_next = inputs
        current = value + mix * (reward_next + discount_next * following - q)
        return current, current

    now = (searched_value[:, :-1], taken_q[:, :-1], trace[:, :-1])
    inputs = tuple(x.T for x in (*now, reward[:, 1:], discount[:, 1:]))
    _, returns = jax.lax.scan(step, searched_value[:, -1], inputs, reverse=True)
    return jax.lax.stop_gradient(jnp.concatenate([returns.T, searched_value[:, -1:]], 1))


def distillation_loss(policy: Policy, tried: Candidates, searched: Searched) -> jax.Array:
    """Cross-entropy of the policy to the improved one over the candidates: float32 ``[N]``, nats.

    The gradient flows through ``policy`` (its factors read candidate by candidate) alone.
    """
    count = tried.legal.shape[1]
    spread = policy._replace(
        parts=tuple(
            part._replace(
                probs=jnp.broadcast_to(part.probs[:, None], (part.probs.shape[0], count, part.probs.shape[1]))
            )
            for part in policy.parts
        )
    )
    return -jnp.sum(jnp.where(tried.legal, searched.weight * spread.log_prob(tried.action), 0.0), 1)
