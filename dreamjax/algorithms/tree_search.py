"""Gumbel MuZero tree search (Danihelka et al. 2022) in a model of one step, by mctx.

Every node considers at most ``K`` actions. Where all actions can be listed these are the ``K`` most likely ones (at the
root with noise: ``K`` drawn without replacement), and their prior is the policy renormalised over them; with ``K`` = all it
is the policy itself. Where they cannot be listed, ``K`` are drawn from the policy, and the prior is that of Sampled MuZero
(Hubert et al. 2021), ``(beta_hat / beta) pi`` with ``beta = pi``: the share of the draws that fell on the action. Draws of
one action are one child, so that none is credited twice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import mctx
import numpy as np
from flax import struct

from dreamjax.algorithms.distributions import Policy, action_record, action_vector
from dreamjax.algorithms.planning import Simulator
from dreamjax.algorithms.search import NEVER, joint_actions, rank_actions
from dreamjax.config import PlannerConfig
from dreamjax.types import ActionSpec

LUCK, DRAW, CHILD = 0, 1, 2
"""What a node's key is folded by: for chance, shared by its children; for its candidates; ``CHILD + i`` for child ``i``."""


class Proposal(NamedTuple):
    """Different actions to try, ``[N, K]``.

    Attributes:
        record: action records ``[N, K, R]``. legal: bool; False for what the environment forbids and for repetitions.
        log_prior: float32, normalised over the legal. noise: float32 Gumbel noise, 0 where none was asked for.
    """

    record: jax.Array
    legal: jax.Array
    log_prior: jax.Array
    noise: jax.Array


class TreeSearch(NamedTuple):
    """What a search found at the root, float32 ``[N, K]`` by candidate unless another type is given.

    Attributes:
        chosen: int32 ``[N]``, the candidate to take. weight: the improved policy, 0 for the illegal.
        q: values; of candidates that were not visited, the root's. visits: int32. value: ``[N]``, the root's.
    """

    chosen: jax.Array
    weight: jax.Array
    q: jax.Array
    visits: jax.Array
    value: jax.Array


@struct.dataclass
class Node:
    """A node's state ``[N, ...]``, the words of its key uint32 ``[N, W]``, its actions as records ``[N, K, R]``."""

    state: Any
    words: jax.Array
    record: jax.Array


def listed(spec: ActionSpec) -> np.ndarray | None:
    """All action vectors, or None where there are too many, or no end of them."""
    try:
        return joint_actions(spec)
    except ValueError:
        return None


def joint_records(spec: ActionSpec, joint: np.ndarray) -> np.ndarray:
    """Action vectors ``[M, A]`` of discrete parts as records int32 ``[M, R]``, on the host."""
    ends = np.cumsum([part.size for part in spec.parts])[:-1]
    pieces = zip(spec.parts, np.split(joint, ends, -1), strict=True)
    columns = [x.argmax(-1, keepdims=True) if part.kind == "categorical" else x for part, x in pieces]
    return np.concatenate(columns, -1).astype(spec.record_dtype)


def propose(
    policy: Policy,
    joint: np.ndarray | None,
    count: int,
    keys: jax.Array,
    *,
    noise: bool,
    taken: jax.Array | None = None,
) -> Proposal:
    """At most ``count`` different actions for each of ``N`` states.

    Args:
        policy: of ``N`` states. joint: all actions, float32 ``[M, A]``, or None where they cannot be listed.
        count: 0 takes all that are listed. keys: typed ``[N]``, consumed (where nothing is drawn, unused).
        noise: with Gumbel noise; listed actions are then drawn by it, without replacement.
        taken: float32 ``[N, A]``, an action to be the first, where they are listed.
    """
    if joint is not None:
        found = rank_actions(policy, joint, count or len(joint), keys if noise else None, taken)
        record = jnp.asarray(joint_records(policy.spec, joint))[found.place]
        legal, log_prob, gumbel = found.legal, found.log_prob, found.noise
    else:
        draws = jax.vmap(lambda key: jax.random.split(key, count + 1))(keys)
        action = jnp.stack([policy.sample(draws[:, i]) for i in range(count)], 1)
        record = action_record(policy.spec, action)
        same = jnp.all(record[:, :, None] == record[:, None], -1)
        legal = jnp.argmax(same, -1) == jnp.arange(count)[None]
        log_prob = jnp.log(jnp.sum(same, -1) / count)
        gumbel = jax.vmap(lambda key: jax.random.gumbel(key, (count,)))(draws[:, count]) * float(noise)
    return Proposal(record, legal, jax.nn.log_softmax(jnp.where(legal, log_prob, NEVER)), gumbel)


def tree_search(
    simulator: Simulator, spec: ActionSpec, state: Any, tried: Proposal, value: jax.Array, keys: jax.Array,
    config: PlannerConfig, num_simulations: int,
) -> TreeSearch:  # fmt: skip
    """Searches from ``N`` states. Row ``i``'s tree depends on its own state and key alone. Nothing is differentiated.

    Siblings share the luck of their steps, so that luck does not tell them apart, as in ``algorithms.search``.

    Args:
        state: ``[N, ...]``. tried: the root's actions. value: float32 ``[N]``, the root's. keys: typed ``[N]``, consumed.
        num_simulations: model steps of each search.
    """
    chex.assert_rank([tried.log_prior, value], [2, 1])
    count, joint, impl = tried.legal.shape[1], listed(spec), jax.random.key_impl(keys)
    fold = jax.vmap(jax.random.fold_in, (0, None))

    def expand(_: None, unused: jax.Array, index: jax.Array, node: Node) -> tuple[mctx.RecurrentFnOutput, Node]:
        own = jax.random.wrap_key_data(node.words, impl=impl)
        record = jnp.take_along_axis(node.record, index[:, None, None], 1)[:, 0]
        following, reward, discount = simulator.step(node.state, action_vector(spec, record), fold(own, LUCK))
        child = jax.vmap(jax.random.fold_in)(own, index + CHILD)
        policy, leaf = simulator.outlook(following)
        found = propose(policy, joint, count, fold(child, DRAW), noise=False)
        output = mctx.RecurrentFnOutput(reward=reward, discount=discount, prior_logits=found.log_prior, value=leaf)
        return output, Node(following, jax.random.key_data(child), found.record)

    def complete(tree: mctx.Tree, index: jax.Array) -> jax.Array:
        return mctx.qtransform_completed_by_mix_value(
            tree, index, value_scale=config.value_scale, maxvisit_init=config.visit_offset
        )

    def at_root(key: jax.Array, tree: mctx.Tree, index: jax.Array) -> jax.Array:
        budget = dict(num_simulations=num_simulations, max_num_considered_actions=min(config.considered, count))
        return mctx.gumbel_muzero_root_action_selection(key, tree, index, qtransform=complete, **budget)

    def inside(key: jax.Array, tree: mctx.Tree, index: jax.Array, depth: jax.Array) -> jax.Array:
        return mctx.gumbel_muzero_interior_action_selection(key, tree, index, depth, qtransform=complete)

    legal = tried.legal | ~jnp.any(tried.legal, 1, keepdims=True)
    tree = mctx.search(
        params=None,
        rng_key=jax.random.PRNGKey(0),  # for ties that this search does not break by chance
        root=mctx.RootFnOutput(
            prior_logits=tried.log_prior, value=value, embedding=Node(state, jax.random.key_data(keys), tried.record)
        ),
        recurrent_fn=expand,
        root_action_selection_fn=at_root,
        interior_action_selection_fn=inside,
        num_simulations=num_simulations,
        max_depth=config.depth or None,
        invalid_actions=~legal,
        # mctx.gumbel_muzero_policy would draw the noise of all rows from one key.
        extra_data=mctx.GumbelMuZeroExtraData(root_gumbel=tried.noise),
    )
    summary = tree.summary()
    visits = summary.visit_counts.astype(jnp.int32)
    score = tried.log_prior + jax.vmap(complete, (0, None))(tree, tree.ROOT_INDEX)
    most = legal & (visits == jnp.max(visits, 1, keepdims=True))
    found = TreeSearch(
        chosen=jnp.argmax(jnp.where(most, tried.noise + score, -jnp.inf), 1).astype(jnp.int32),
        weight=jnp.where(tried.legal, jax.nn.softmax(jnp.where(legal, score, NEVER)), 0.0),
        q=jnp.where(visits > 0, summary.qvalues, summary.value[:, None]),
        visits=visits,
        value=summary.value,
    )
    return jax.lax.stop_gradient(found)
