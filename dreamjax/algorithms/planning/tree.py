"""Planning by tree search: Gumbel MuZero (Danihelka et al. 2022), by mctx.

Every node has at most ``K`` actions. Where all actions can be listed these are the ``K`` most likely ones (at the
root with noise: ``K`` drawn without replacement), and their prior is the policy renormalized over them; with ``K`` = all it
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

from dreamjax.algorithms.actions import Policy, action_record, action_vector
from dreamjax.algorithms.planning.candidates import NEVER, joint_actions_or_none, joint_records, top_actions
from dreamjax.algorithms.planning.model import PlanningModel
from dreamjax.config import PlannerConfig
from dreamjax.types import ActionSpec

SHARED, DRAW, CHILD = 0, 1, 2
"""Folded into a node's key: the step to its children, whose randomness they share; the draw of its candidates; child ``i``
is ``CHILD + i``."""


class Candidates(NamedTuple):
    """Different candidate actions of ``N`` nodes, ``[N, K]``.

    Attributes:
        record: action records ``[N, K, R]``. legal: bool; False for actions that are masked, and for repeated draws.
        log_prior: float32, normalized over the legal. noise: float32 Gumbel noise, 0 without noise.
    """

    record: jax.Array
    legal: jax.Array
    log_prior: jax.Array
    noise: jax.Array


class SearchOutput(NamedTuple):
    """The result at the root, by candidate ``[N, K]``, float32 where no other dtype is given.

    Attributes:
        chosen: int32 ``[N]``, the candidate to take. weight: the improved policy, 0 for illegal candidates.
        q: values; the root's own value for a candidate without visits. visits: int32. value: ``[N]``, the root's.
    """

    chosen: jax.Array
    weight: jax.Array
    q: jax.Array
    visits: jax.Array
    value: jax.Array


@struct.dataclass
class Node:
    """A node's state ``[N, ...]``, the words of its key uint32 ``[N, W]``, its candidates as records ``[N, K, R]``."""

    state: Any
    words: jax.Array
    record: jax.Array


def propose(policy: Policy, joint: np.ndarray | None, count: int, keys: jax.Array, *, with_noise: bool) -> Candidates:
    """At most ``count`` different candidates of each of ``N`` states.

    Args:
        policy: of ``N`` states. joint: all actions, float32 ``[M, A]``, or None where they cannot be listed.
        count: 0 takes all listed actions. keys: typed ``[N]``, consumed.
        with_noise: add Gumbel noise; listed actions are then drawn without replacement.
    """
    if joint is not None:
        top = top_actions(policy, joint, count or len(joint), keys if with_noise else None)
        record = jnp.asarray(joint_records(policy.spec, joint))[top.indices]
        legal, log_prob, noise = top.legal, top.log_prob, top.noise
    else:
        draws = jax.vmap(lambda key: jax.random.split(key, count + 1))(keys)
        action = jnp.stack([policy.sample(draws[:, i]) for i in range(count)], 1)
        record = action_record(policy.spec, action)
        same = jnp.all(record[:, :, None] == record[:, None], -1)
        legal = jnp.argmax(same, -1) == jnp.arange(count)[None]
        log_prob = jnp.log(jnp.sum(same, -1) / count)
        noise = jax.vmap(lambda key: jax.random.gumbel(key, (count,)))(draws[:, count]) * float(with_noise)
    return Candidates(record, legal, jax.nn.log_softmax(jnp.where(legal, log_prob, NEVER)), noise)


def tree_search(
    model: PlanningModel,
    spec: ActionSpec,
    state: Any,
    candidates: Candidates,
    value: jax.Array,
    keys: jax.Array,
    config: PlannerConfig,
) -> SearchOutput:
    """Searches from ``N`` roots. Row ``i`` depends on its own state and key alone. Nothing is differentiated.

    Siblings share the keys of their steps (common random numbers), so that chance does not tell them apart.

    Args:
        state: ``[N, ...]``. candidates: of the roots. value: float32 ``[N]``, of the roots. keys: typed ``[N]``, consumed.
    """
    chex.assert_rank([candidates.log_prior, value], [2, 1])
    count, joint, impl = candidates.legal.shape[1], joint_actions_or_none(spec), jax.random.key_impl(keys)
    fold = jax.vmap(jax.random.fold_in, (0, None))

    def expand(_: None, unused: jax.Array, index: jax.Array, node: Node) -> tuple[mctx.RecurrentFnOutput, Node]:
        own = jax.random.wrap_key_data(node.words, impl=impl)
        record = jnp.take_along_axis(node.record, index[:, None, None], 1)[:, 0]
        following, reward, discount = model.step(node.state, action_vector(spec, record), fold(own, SHARED))
        child = jax.vmap(jax.random.fold_in)(own, index + CHILD)
        policy, leaf_value = model.policy_and_value(following)
        below = propose(policy, joint, count, fold(child, DRAW), with_noise=False)
        output = mctx.RecurrentFnOutput(
            reward=reward, discount=discount, prior_logits=below.log_prior, value=leaf_value
        )
        return output, Node(following, jax.random.key_data(child), below.record)

    def complete(tree: mctx.Tree, index: jax.Array) -> jax.Array:
        return mctx.qtransform_completed_by_mix_value(
            tree, index, value_scale=config.value_scale, maxvisit_init=config.maxvisit_init
        )

    def select_at_root(key: jax.Array, tree: mctx.Tree, index: jax.Array) -> jax.Array:
        return mctx.gumbel_muzero_root_action_selection(
            key,
            tree,
            index,
            num_simulations=config.num_simulations,
            max_num_considered_actions=min(config.max_num_considered_actions, count),
            qtransform=complete,
        )

    def select_inside(key: jax.Array, tree: mctx.Tree, index: jax.Array, depth: jax.Array) -> jax.Array:
        return mctx.gumbel_muzero_interior_action_selection(key, tree, index, depth, qtransform=complete)

    legal = candidates.legal | ~jnp.any(candidates.legal, 1, keepdims=True)
    root = Node(state, jax.random.key_data(keys), candidates.record)
    tree = mctx.search(
        params=None,
        rng_key=jax.random.PRNGKey(0),  # unused: nothing in this search breaks a tie at random
        root=mctx.RootFnOutput(prior_logits=candidates.log_prior, value=value, embedding=root),
        recurrent_fn=expand,
        root_action_selection_fn=select_at_root,
        interior_action_selection_fn=select_inside,
        num_simulations=config.num_simulations,
        max_depth=config.depth or None,
        invalid_actions=~legal,
        # mctx.gumbel_muzero_policy would draw the noise of all rows from one key.
        extra_data=mctx.GumbelMuZeroExtraData(root_gumbel=candidates.noise),
    )
    summary = tree.summary()
    visits = summary.visit_counts.astype(jnp.int32)
    score = candidates.log_prior + jax.vmap(complete, (0, None))(tree, tree.ROOT_INDEX)
    most_visited = legal & (visits == jnp.max(visits, 1, keepdims=True))
    output = SearchOutput(
        chosen=jnp.argmax(jnp.where(most_visited, candidates.noise + score, -jnp.inf), 1).astype(jnp.int32),
        weight=jnp.where(candidates.legal, jax.nn.softmax(jnp.where(legal, score, NEVER)), 0.0),
        q=jnp.where(visits > 0, summary.qvalues, summary.value[:, None]),
        visits=visits,
        value=summary.value,
    )
    return jax.lax.stop_gradient(output)


def plan_tree(
    model: PlanningModel, state: Any, policy: Policy, keys: jax.Array, config: PlannerConfig, *, greedy: bool
) -> jax.Array:
    """The action to take from each of ``N`` states, float32 ``[N, A]``, by a search of ``config.num_simulations``.

    If not ``greedy`` the root's candidates are drawn with Gumbel noise, which samples from the improved policy.

    Args:
        state: ``[N, ...]``. policy: the actor's at ``state``, under the true mask. keys: typed ``[N]``, consumed.
    """
    spec = policy.spec
    split = jax.vmap(jax.random.split)(keys)
    _, value = model.policy_and_value(state)
    candidates = propose(policy, joint_actions_or_none(spec), config.actions, split[:, 0], with_noise=not greedy)
    output = tree_search(model, spec, state, candidates, value, split[:, 1], config)
    record = jnp.take_along_axis(candidates.record, output.chosen[:, None, None], 1)[:, 0]
    return action_vector(spec, record)
