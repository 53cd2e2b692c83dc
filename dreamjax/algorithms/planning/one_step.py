"""Planning one step ahead: every candidate action is tried once in the model.

``Q(s, a) = r(s') + w gamma c(s') V(s')`` with ``s'`` imagined and ``w = planner.bootstrap``; with ``w = 0`` the predicted
reward alone decides, which serves where rewards are shaped and the critic is not yet good. All candidates of a state share
one key (common random numbers), so that chance does not tell them apart.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.algorithms.actions import Policy
from dreamjax.algorithms.planning.candidates import NEVER, top_actions
from dreamjax.algorithms.planning.model import PlanningModel
from dreamjax.config import PlannerConfig


def candidate_values(
    model: PlanningModel, state: Any, action: jax.Array, shared_keys: jax.Array, *, bootstrap: float = 1.0
) -> jax.Array:
    """``Q`` of each candidate, float32 ``[N, K]``. Nothing is differentiated.

    Args:
        state: ``[N, ...]``. action: float32 ``[N, K, A]``. shared_keys: typed ``[N]``, consumed, one for all candidates.
        bootstrap: weight of the critic's value.
    """
    n, k = action.shape[:2]
    repeat = lambda x: jnp.repeat(x, k, 0, total_repeat_length=n * k)  # noqa: E731
    following, reward, discount = model.step(
        jax.tree.map(repeat, state), action.reshape(n * k, -1), repeat(shared_keys)
    )
    _, value = model.policy_and_value(following)
    return jax.lax.stop_gradient((reward + bootstrap * discount * value).reshape(n, k))


def standardize(q: jax.Array, legal: jax.Array) -> jax.Array:
    """``q [N, K]`` minus its mean over each state's legal candidates, in units of their standard deviation.

    A temperature then means the same whatever the scale of the rewards.
    """
    weight = legal / jnp.maximum(jnp.sum(legal, 1, keepdims=True), 1)
    mean = jnp.sum(weight * q, 1, keepdims=True)
    variance = jnp.sum(weight * jnp.square(q - mean), 1, keepdims=True)
    return (q - mean) / jnp.sqrt(variance + 1e-8)


def plan_one_step(
    model: PlanningModel,
    state: Any,
    policy: Policy,
    keys: jax.Array,
    config: PlannerConfig,
    *,
    joint: np.ndarray,
    greedy: bool,
) -> jax.Array:
    """The action to take from each of ``N`` states, float32 ``[N, A]``.

    The candidates are ``config.actions`` of the actor's (0: all), the most likely ones if ``greedy``, else drawn without
    replacement. The best legal one is taken if ``greedy``, else a draw from ``softmax(Q / config.act_temperature)`` with
    ``Q`` standardized.

    Args:
        state: ``[N, ...]``. policy: the actor's at ``state``, under the true mask. keys: typed ``[N]``, consumed.
        joint: all actions, float32 ``[M, A]``.
    """
    split = jax.vmap(lambda key: jax.random.split(key, 3))(keys)
    candidates = top_actions(policy, joint, config.actions or len(joint), None if greedy else split[:, 0])
    action = jnp.asarray(joint)[candidates.indices]
    q = candidate_values(model, state, action, split[:, 1], bootstrap=config.bootstrap)
    score = standardize(q, candidates.legal) / config.act_temperature
    score = jnp.where(candidates.legal, score, NEVER)
    if not greedy:
        score += jax.vmap(lambda key: jax.random.gumbel(key, score.shape[1:]))(split[:, 2])
    best = jnp.argmax(score, 1)
    return jnp.take_along_axis(action, best[:, None, None], 1)[:, 0]
