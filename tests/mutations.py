"""Breaks the library on purpose, one small change at a time, and sees the tests fail.

``python -m tests.mutations [--only NAME] [--jobs N]`` runs for each mutation the tests that should notice, in a process
of its own in which one module is read with one text replaced; nothing on disk changes. It prints killed or survived for
each and exits 1 if any survived, or if a text that a mutation replaces is not there exactly once.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Mutation(NamedTuple):
    """One change: ``old`` occurs once in ``module`` and becomes ``new``; one of ``tests`` must fail.

    ``module`` is a dotted name below ``dreamjax``, or one that begins with ``experiments``.
    """

    name: str
    module: str
    old: str
    new: str
    tests: str


RETURNS, NORMALISATION = "tests/algorithms/test_returns.py", "tests/algorithms/test_normalisation.py"
OPTIMISERS, DISTRIBUTIONS = "tests/algorithms/test_optimisers.py", "tests/algorithms/test_distributions.py"
LATENTS, NETS, RSSM = "tests/models/test_latents.py", "tests/models/test_nets.py", "tests/models/test_rssm.py"
ENCODERS, HEADS, MODEL = (
    "tests/models/test_encoders.py",
    "tests/models/test_heads.py",
    "tests/models/test_world_model.py",
)
LOSS, IMAGINATION = "tests/algorithms/test_world_model_loss.py", "tests/algorithms/test_imagination.py"
MOTION = "tests/models/test_grid_motion.py"
GRID = "tests/models/test_grid.py"
TREE, SHOOTING = "tests/algorithms/test_tree_search.py", "tests/algorithms/test_shooting.py"
HELD = "tests/algorithms/test_held_plans.py"
PLANNING = "tests/agents/test_planning_agent.py"
SEARCH, SEARCH_LOSS = "tests/algorithms/test_search.py", "tests/algorithms/test_search_loss.py"
ACTOR_CRITIC, RANDOMNESS = "tests/algorithms/test_actor_critic.py", "tests/algorithms/test_randomness.py"
AGENT, UPDATE, CONTRACTS = (
    "tests/agents/test_dream_agent.py",
    "tests/algorithms/test_update.py",
    "tests/test_contracts.py",
)
COMPILED = "tests/training/test_compiled_collector.py"
CALLS = "tests/training/test_trainer.py::test_several_steps_in_one_call_keep_the_schedule"
BEHAVIOUR = UPDATE + "::test_the_behaviour_phase_against_numpy"
EXPLORATION, ENSEMBLE = "tests/algorithms/test_exploration.py", "tests/models/test_ensemble.py"
EXPLORER = "tests/algorithms/test_explorer.py"
SWITCHES = "tests/test_switches.py"
DEVICES = UPDATE + "::test_devices_give_the_same_update"

WATCHDOG = "tests/training/test_watchdog.py"
ACCURACY, SHIPPED = "tests/reporting/test_accuracy.py", "tests/training/test_shipped.py"
MODEL_EVALUATOR, TETRIS_RULES = "tests/training/test_model_evaluator.py", "tests/envs/tetris/test_rules.py"

PYTEST = ("-m", "pytest", "-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "no:xdist")

MUTATIONS = [
    # Returns: the discount once, rewards and values of the outcome, the start's own continuation.
    Mutation("return_discount_twice", "algorithms.returns",
             "discount = gamma * cont[:, 1:]", "discount = gamma * gamma * cont[:, 1:]", RETURNS),
    Mutation("return_cont_of_the_start", "algorithms.returns",
             "discount = gamma * cont[:, 1:]", "discount = gamma * cont[:, :-1]", RETURNS),
    Mutation("return_reward_of_the_start", "algorithms.returns",
             "base = reward[:, 1:] +", "base = reward[:, :-1] +", RETURNS),
    Mutation("return_value_of_the_start", "algorithms.returns",
             "(1 - mix[:, 1:]) * value[:, 1:]", "(1 - mix[:, 1:]) * value[:, :-1]", RETURNS),
    Mutation("return_mix_of_the_start", "algorithms.returns",
             "(discount * mix[:, 1:]).T", "(discount * mix[:, :-1]).T", RETURNS),
    Mutation("return_bootstrap_from_the_first", "algorithms.returns",
             "value[:, -1], inputs", "value[:, 0], inputs", RETURNS),
    Mutation("return_through_time_limits", "algorithms.returns",
             "jnp.where(is_last, 0.0, mix)", "jnp.where(is_last, mix, mix)", RETURNS),
    Mutation("return_ends_at_time_limits", "algorithms.returns",
             "discount = gamma * cont[:, 1:]",
             "discount = gamma * cont[:, 1:] * (1.0 if is_last is None else 1.0 - is_last[:, 1:])", RETURNS),
    Mutation("weights_without_the_start", "algorithms.returns",
             "jnp.cumprod(cont, 1)", "jnp.cumprod(jnp.roll(cont, 1, 1).at[:, 0].set(1.0), 1)", RETURNS),
    Mutation("weights_discounted_from_the_start", "algorithms.returns",
             "jnp.arange(cont.shape[1], dtype=jnp.float32)", "jnp.arange(1, cont.shape[1] + 1, dtype=jnp.float32)",
             RETURNS),
    # Normalisation of returns.
    Mutation("percentiles_10_90", "algorithms.normalisation", "(5.0, 95.0)", "(10.0, 90.0)", NORMALISATION),
    Mutation("percentiles_biased", "algorithms.normalisation", "/ correction)", "/ 1.0)", NORMALISATION),
    Mutation("percentiles_floor", "algorithms.normalisation", "jnp.maximum(limit,", "jnp.minimum(limit,",
             NORMALISATION),
    Mutation("percentiles_of_one_device", "algorithms.normalisation",
             "values = jax.lax.all_gather(values, axis_name, tiled=True)\n    low, high = jnp.percentile("
             "values, jnp.asarray(PERCENTILES))",
             "pass\n    low, high = jnp.percentile(values, jnp.asarray(PERCENTILES))\n"
             "    if axis_name is not None:\n        low, high = jax.lax.pmean((low, high), axis_name)", NORMALISATION),
    Mutation("percentiles_with_gradient", "algorithms.normalisation",
             "jax.lax.stop_gradient(values)", "values", NORMALISATION),
    # Optimisers.
    Mutation("laprop_eps_inside", "algorithms.optimisers", "eps_in_sqrt=False", "eps_in_sqrt=True", OPTIMISERS),
    Mutation("laprop_no_debias", "algorithms.optimisers", "debias=True", "debias=False", OPTIMISERS),
    Mutation("laprop_no_correction", "algorithms.optimisers", "bias_correction=True", "bias_correction=False",
             OPTIMISERS),
    Mutation("agc_by_row", "algorithms.optimisers",
             "jnp.linalg.norm(update.reshape(-1))", "jnp.linalg.norm(update, axis=-1, keepdims=True)", OPTIMISERS),
    Mutation("agc_min_norm", "algorithms.optimisers", "min_norm: float = 1e-3", "min_norm: float = 1e-1", OPTIMISERS),
    Mutation("agc_lengthens", "algorithms.optimisers", "jnp.maximum(1.0, update_norm", "jnp.maximum(0.1, update_norm",
             OPTIMISERS),
    Mutation("warm_up_from_full", "algorithms.optimisers",
             "linear_schedule(0.0,", "linear_schedule(learning_rate,", OPTIMISERS),
    Mutation("actor_at_the_critics_rate", "algorithms.optimisers",
             '"actor": make_optimiser(config, config.actor_lr,',
             '"actor": make_optimiser(config, config.critic_lr,', OPTIMISERS),
    Mutation("actor_waits_for_nothing", "algorithms.optimisers", "transition_begin=begin", "transition_begin=0",
             OPTIMISERS),
    Mutation("critic_waits_too", "algorithms.optimisers", '"critic": make_optimiser(config, config.critic_lr)',
             '"critic": make_optimiser(config, config.critic_lr, config.actor_delay)', OPTIMISERS),
    Mutation("slow_critic_rate_swapped", "algorithms.optimisers",
             "(1 - rate) * slow + rate * fast", "rate * slow + (1 - rate) * fast", OPTIMISERS),
    # Scalars.
    Mutation("two_hot_linear_in_symlog", "algorithms.distributions",
             "weight = (target - bins[lower]) / (bins[lower + 1] - bins[lower])",
             "weight = (symlog(target) + reach) / step - lower", DISTRIBUTIONS),
    Mutation("two_hot_pairs_unmatched", "algorithms.distributions",
             "probs[..., : num // 2][..., ::-1]", "probs[..., : num // 2]", DISTRIBUTIONS),
    Mutation("two_hot_target_with_gradient", "algorithms.distributions",
             "two_hot_position(jax.lax.stop_gradient(target), ", "two_hot_position(target, ", DISTRIBUTIONS),
    Mutation("two_hot_weights_swapped", "algorithms.distributions",
             "jnp.stack([lower, lower + 1], -1)", "jnp.stack([lower + 1, lower], -1)", DISTRIBUTIONS),
    Mutation("two_hot_not_clipped", "algorithms.distributions",
             "jnp.clip(target.astype(jnp.float32), bins[0], bins[-1])", "target.astype(jnp.float32)", DISTRIBUTIONS),
    # Observations.
    Mutation("observation_mean", "algorithms.distributions",
             "jnp.sum(loss, tuple(range(-event, 0)))", "jnp.mean(loss, tuple(range(-event, 0)))", DISTRIBUTIONS),
    Mutation("vector_not_symlog", "algorithms.distributions",
             "jnp.square(prediction - symlog(target))\n    else", "jnp.square(prediction - target)\n    else",
             DISTRIBUTIONS),
    Mutation("grid_classes_by_row", "algorithms.distributions",
             "jax.nn.log_softmax(logits, -3)", "jax.nn.log_softmax(logits, -2)", DISTRIBUTIONS),
    # Actions.
    Mutation("bits_log_prob_mean", "algorithms.distributions",
             "total += jnp.sum(x * log_p + (1 - x) * log_not, -1)",
             "total += jnp.mean(x * log_p + (1 - x) * log_not, -1)", DISTRIBUTIONS),
    Mutation("bits_entropy_of_ones_alone", "algorithms.distributions",
             "jnp.sum(p * _safe_log(p) + (1 - p) * _safe_log(1 - p), -1)", "jnp.sum(p * _safe_log(p), -1)",
             DISTRIBUTIONS),
    Mutation("bits_unimix", "algorithms.distributions", "+ config.unimix / 2)", "+ config.unimix)", DISTRIBUTIONS),
    Mutation("actor_without_unimix", "algorithms.distributions",
             "(1 - config.unimix) * probs + config.unimix / part.size", "probs", DISTRIBUTIONS),
    Mutation("unimix_over_illegal", "algorithms.distributions",
             "share = legal / jnp.sum(legal, -1, keepdims=True)",
             "share = jnp.full(legal.shape, 1 / legal.shape[-1])", DISTRIBUTIONS),
    Mutation("mask_leaks", "algorithms.distributions", "jnp.where(legal, raw, -1e30)", "jnp.where(legal, raw, -3.0)",
             DISTRIBUTIONS),
    Mutation("mask_infinite", "algorithms.distributions",
             "legal = legal | ~jnp.any(legal, -1, keepdims=True)\n", "", DISTRIBUTIONS),
    Mutation("mask_on_every_part", "algorithms.distributions",
             "mask if part.masked else None", "mask if part.kind == 'categorical' else None", DISTRIBUTIONS),
    Mutation("action_with_gradient", "algorithms.distributions",
             "log_prob(jax.lax.stop_gradient(x))", "log_prob(x)", DISTRIBUTIONS),
    Mutation("parts_share_a_key", "algorithms.distributions", "key = part_keys[:, i]", "key = part_keys[:, 0]",
             RANDOMNESS),
    Mutation("parts_in_a_row", "algorithms.distributions",
             "raw = outputs[..., start : start + width]", "raw = outputs[..., :width]", DISTRIBUTIONS),
    Mutation("safe_log_unsafe", "algorithms.distributions",
             "jnp.where(positive, jnp.log(jnp.where(positive, probs, 1.0)), 0.0)",
             "jnp.where(positive, jnp.log(probs), 0.0)", CONTRACTS),
    # Latents.
    Mutation("unimix_too_much", "models.latents", "+ unimix / logit.shape[-1]", "+ unimix", LATENTS),
    Mutation("no_straight_through", "models.latents",
             "jax.lax.stop_gradient(hot) + (probs - jax.lax.stop_gradient(probs))", "jax.lax.stop_gradient(hot)",
             LATENTS),
    Mutation("soft_samples", "models.latents",
             "jax.lax.stop_gradient(hot) + (probs - jax.lax.stop_gradient(probs))", "probs", LATENTS),
    Mutation("kl_reversed", "models.latents",
             "jnp.exp(left) * (left - right)", "jnp.exp(right) * (right - left)", LATENTS),
    Mutation("kl_mean", "models.latents",
             "return jnp.sum(jnp.exp(left) * (left - right), (-2, -1))",
             "return jnp.mean(jnp.exp(left) * (left - right), (-2, -1))", LATENTS),
    Mutation("gaussian_kl_std", "models.latents", "(2 * jnp.square(std_q))", "(2 * jnp.square(std_p))", LATENTS),
    Mutation("gaussian_std_unbounded", "models.latents", "jax.nn.softplus(std) + min_std", "jax.nn.softplus(std)",
             LATENTS),
    Mutation("gaussian_std_without_gradient", "models.latents",
             "(mean + std * row_normal(", "(mean + jax.lax.stop_gradient(std) * row_normal(", LATENTS),
    Mutation("impossible_classes_drawn", "models.latents", "cumulative < threshold", "cumulative <= threshold",
             LATENTS),
    Mutation("uniform_not_flipped", "models.latents", "(1 - uniform)[..., None]", "uniform[..., None]", LATENTS),
    # Networks.
    Mutation("norm_epsilon", "models.nets", "eps: float = 1e-4", "eps: float = 1e-6", NETS),
    Mutation("kernel_scale_not_squared", "models.nets", "variance_scaling(scale**2,", "variance_scaling(scale,", NETS),
    Mutation("block_fan_in_of_all", "models.nets", ", batch_axis=(0,)", "", NETS),
    Mutation("bytes_unscaled", "models.encoders", "x.astype(jnp.float32) / 255 if", "x.astype(jnp.float32) if",
             ENCODERS),
    Mutation("one_hot_on_the_wrong_axis", "models.encoders", "axis=-3)", "axis=-1)", ENCODERS),
    Mutation("vectors_not_symlog", "models.encoders", "symlog(x) if config.symlog else x", "x", ENCODERS),
    Mutation("critic_begins_random", "models.heads",
             "_mlp_head(config, config.critic.layers, config.critic.units, outputs, 0.0)",
             "_mlp_head(config, config.critic.layers, config.critic.units, outputs, 1.0)", HEADS),
    Mutation("actor_begins_sure", "models.heads",
             "policy_outputs(spec), actor.output_scale)\n    if not", "policy_outputs(spec), 1.0)\n    if not", HEADS),
    Mutation("reward_begins_random", "models.world_model", "model.units, bins, 0.0,", "model.units, bins, 1.0,", MODEL),
    # The RSSM.
    Mutation("gru_update_bias", "models.rssm",
             "update = jax.nn.sigmoid(update - 1)", "update = jax.nn.sigmoid(update)", RSSM),
    Mutation("blocks_read_each_others_shared_part", "models.nets",
             "jnp.swapaxes(z.reshape(rows, blocks, self.features), 0, 1)",
             "z.reshape(blocks, rows, self.features)", NETS),
    Mutation("blocks_normalised_apart", "models.nets", "(0, 2) if self.by_blocks else -1)", "-1)", NETS),
    Mutation("rssm_without_unimix", "models.rssm", "unimix_logit(shaped, config.unimix)", "unimix_logit(shaped, 0.0)",
             RSSM),
    Mutation("posterior_blind", "models.rssm", "self.post_deter(deter) + embed", "self.post_deter(deter) + 0 * embed",
             RSSM),
    Mutation("action_scale_with_gradient", "models.rssm",
             "jax.lax.stop_gradient(jnp.maximum(1.0, jnp.abs(action)))", "jnp.maximum(1.0, jnp.abs(action))", RSSM),
    Mutation("reset_keeps_the_action", "models.rssm",
             "return jax.tree.map(clear, (state, action))", "return jax.tree.map(clear, state), action", MODEL),
    Mutation("reset_clears_every_row", "models.rssm",
             "jnp.where(first, jnp.zeros_like(x), x)", "jnp.where(jnp.any(first), jnp.zeros_like(x), x)", MODEL),
    # Filtering and the world model's losses.
    Mutation("action_of_now", "algorithms.world_model_loss",
             "previous = jnp.concatenate([prev_action[:, None], action[:, :-1]], 1)", "previous = action", LOSS),
    Mutation("one_key_for_all_steps", "algorithms.world_model_loss", "step_keys(keys, t)", "step_keys(keys, 0 * t)",
             RANDOMNESS),
    Mutation("window_begins_anywhere", "algorithms.world_model_loss",
             "jnp.asarray(batch.is_first).at[:, 0].set(True)", "jnp.asarray(batch.is_first)", LOSS),
    Mutation("dyn_trains_the_posterior", "algorithms.world_model_loss",
             "kl(sg(post.logit), prior_logit)", "kl(post.logit, prior_logit)", LOSS),
    Mutation("rep_trains_the_prior", "algorithms.world_model_loss",
             "kl(post.logit, sg(prior_logit))", "kl(post.logit, prior_logit)", LOSS),
    Mutation("free_nats_after_the_mean", "algorithms.world_model_loss",
             "jnp.maximum(dyn_kl, scales.free_nats)",
             "jnp.full_like(dyn_kl, jnp.maximum(jnp.mean(dyn_kl), scales.free_nats))",
             LOSS),
    Mutation("truncation_is_termination", "algorithms.world_model_loss",
             "1.0 - batch.is_terminal.astype", "1.0 - batch.is_last.astype", LOSS),
    Mutation("cont_target_undiscounted", "algorithms.world_model_loss", "cont_target *= scales.gamma", "pass", LOSS),
    Mutation("starts_with_gradient", "algorithms.world_model_loss", "(jax.tree.map(sg, post), sg(by_step)",
             "(post, sg(by_step)", LOSS),
    Mutation("importance_weights_unused", "algorithms.world_model_loss",
             "jnp.expand_dims(batch.weight, 1)", "jnp.ones_like(jnp.expand_dims(batch.weight, 1))", LOSS),
    Mutation("rows_by_place", "algorithms.world_model_loss",
             "row_keys(key, batch.row)", "row_keys(key, jnp.arange(batch.row.shape[0]))", LOSS),
    Mutation("feat_of_the_prior", "models.world_model",
             'logit = call("post_logit", params, deter, embed, slots=effect)', 'logit = call("prior_logit", params, deter)',
             LOSS),
    # Imagination.
    Mutation("feat_of_the_outcome", "algorithms.imagination",
             "(feats, feat, t + 1, 1)", "(feats, feat, t, 1)", IMAGINATION),
    Mutation("mask_of_the_outcome", "algorithms.imagination",
             "policy.log_prob(action), mask, products)", "policy.log_prob(action), legal(feat), products)", IMAGINATION),
    Mutation("policy_without_mask", "algorithms.imagination",
             "policy_fn(feat, mask)", "policy_fn(feat, None if mask is None else mask | True)",
             IMAGINATION),
    Mutation("start_mask_unused", "algorithms.imagination",
             "start_mask if start_mask is not None else legal(feat)", "legal(feat)", IMAGINATION),
    Mutation("discount_kept_in_cont", "algorithms.imagination", "jnp.minimum(cont / gamma, 1.0)", "cont", IMAGINATION),
    Mutation("cont_above_one", "algorithms.imagination", "jnp.minimum(cont / gamma, 1.0)", "cont / gamma", IMAGINATION),
    Mutation("imagination_with_gradient", "algorithms.imagination",
             "return jax.tree.map(jax.lax.stop_gradient, rollouts)", "return rollouts", IMAGINATION),
    Mutation("action_and_outcome_share_a_key", "algorithms.imagination", "action, split[:, 1])", "action, split[:, 0])",
             RANDOMNESS),
    # Actor and critic.
    Mutation("baseline_of_the_outcome", "algorithms.actor_critic",
             "(returns - value[:, :-1])", "(returns - value[:, 1:])", ACTOR_CRITIC),
    Mutation("actor_weight_of_the_outcome", "algorithms.actor_critic",
             "step_weights(rollouts.cont[:, :-1],", "step_weights(rollouts.cont[:, 1:],", ACTOR_CRITIC),
    Mutation("entropy_penalised", "algorithms.actor_critic",
             "- sg(weight) * config.actor.entropy", "+ sg(weight) * config.actor.entropy", ACTOR_CRITIC),
    Mutation("entropy_unweighted", "algorithms.actor_critic",
             "- sg(weight) * config.actor.entropy", "- config.actor.entropy", ACTOR_CRITIC),
    Mutation("advantage_with_gradient", "algorithms.actor_critic", "* sg(advantage)", "* advantage", ACTOR_CRITIC),
    Mutation("log_prob_without_gradient", "algorithms.actor_critic",
             "-target * log_prob * sg(", "-target * sg(log_prob) * sg(", ACTOR_CRITIC),
    Mutation("ratio_with_gradient", "algorithms.actor_critic",
             "jnp.exp(sg(log_prob) - ", "jnp.exp(log_prob - ", ACTOR_CRITIC),
    Mutation("ratio_untruncated", "algorithms.actor_critic",
             "jnp.minimum(1.0, jnp.exp(", "jnp.maximum(0.0, jnp.exp(", ACTOR_CRITIC),
    Mutation("critic_unweighted", "algorithms.actor_critic",
             "jnp.mean(sg(weight) * loss)", "jnp.mean(loss)", ACTOR_CRITIC),
    Mutation("slow_target_swapped", "algorithms.actor_critic",
             "slow_outputs if config.critic.slow_target else outputs",
             "outputs if config.critic.slow_target else slow_outputs", ACTOR_CRITIC),
    Mutation("targets_with_gradient", "algorithms.actor_critic",
             "return sg(returns), sg(value)", "return returns, value", ACTOR_CRITIC),
    Mutation("replay_ends_at_time_limits", "algorithms.actor_critic",
             "cont = 1.0 - is_terminal.astype", "cont = 1.0 - is_last.astype", RETURNS),
    Mutation("replay_through_time_limits", "algorithms.actor_critic", ", is_last=is_last)", ")", RETURNS),
    # The update.
    Mutation("first_steps", "algorithms.update", "x[:, -count:]", "x[:, :count]", UPDATE + "::test_last_steps"),
    Mutation("micro_batches_summed", "algorithms.micro_batches", "jnp.mean(x, 0), means", "jnp.sum(x, 0), means",
             "tests/algorithms/test_micro_batches.py"),
    Mutation("finished_starts_alive", "algorithms.update",
             "alive = 1.0 - last_steps(window.is_terminal,", "alive = 1.0 - 0.0 * last_steps(window.is_terminal,",
             BEHAVIOUR),
    Mutation("policy_at_the_outcome", "algorithms.update",
             "feat, rollouts.products)[:, :-1]", "feat, rollouts.products)[:, 1:]", BEHAVIOUR),
    Mutation("critic_at_the_outcome", "algorithms.update",
             "critic_loss(outputs[:, :-1], slow[:, :-1],", "critic_loss(outputs[:, 1:], slow[:, :-1],", BEHAVIOUR),
    Mutation("slow_critic_at_the_outcome", "algorithms.update",
             "critic_loss(outputs[:, :-1], slow[:, :-1],", "critic_loss(outputs[:, :-1], slow[:, 1:],", BEHAVIOUR),
    Mutation("loss_mask_of_the_outcome", "algorithms.update", "rollouts.mask[:, :-1]", "rollouts.mask[:, 1:]",
             BEHAVIOUR),
    Mutation("critic_weight_of_the_outcome", "algorithms.update",
             "step_weights(rollouts.cont[:, :-1],", "step_weights(rollouts.cont[:, 1:],", BEHAVIOUR),
    Mutation("replay_across_episodes", "algorithms.update",
             "live = 1.0 - is_last[:, :-1]", "live = 1.0 - 0.0 * is_last[:, :-1]", BEHAVIOUR),
    Mutation("replay_bootstraps_from_the_critic", "algorithms.update",
             "boot = replay_value if use_ring else", "boot = replay_value if True else", BEHAVIOUR),
    Mutation("critic_regularised_to_itself", "algorithms.update",
             "critic.apply(critic_params, feat), critic.apply(slow_critic, feat)",
             "critic.apply(critic_params, feat), critic.apply(critic_params, feat)", BEHAVIOUR),
    Mutation("scale_before_the_update", "algorithms.update",
             "scale = normaliser_scale(retnorm,", "scale = normaliser_scale(state.retnorm,", BEHAVIOUR),
    Mutation("priorities_unpadded", "algorithms.update",
             "((0, 0), (by_step.shape[1] - more.shape[1], 0))", "((0, 0), (0, by_step.shape[1] - more.shape[1]))",
             BEHAVIOUR),
    Mutation("search_leaves_priorities", "algorithms.update",
             "priority = with_error(priority, error)\n        if learn_behaviour and",
             "pass\n        if learn_behaviour and",
             SEARCH_LOSS),
    Mutation("slow_critic_copied", "algorithms.update", 'params["critic"], config.critic.slow_rate)',
             'params["critic"], 1.0)', UPDATE + "::test_the_slow_critic_follows_by_its_rate"),
    Mutation("gradients_of_one_device", "algorithms.update",
             "grads, metrics = jax.lax.pmean((grads, metrics), axis_name)",
             "metrics = jax.lax.pmean(metrics, axis_name)", DEVICES + "[plain-vmap-2]"),
    Mutation("starts_by_place", "algorithms.update",
             "window.row[:, None] * length", "jnp.arange(window.row.shape[0], dtype=jnp.int32)[:, None] * length",
             DEVICES + "[plain-vmap-2]"),
    Mutation("ring_of_one_device", "algorithms.update",
             "rollouts = jax.tree.map(lambda x: jax.lax.all_gather(x, axis_name, tiled=True), rollouts)", "pass",
             DEVICES + "[ring-pmap-2]"),
    Mutation("ring_draws_alike", "algorithms.update", "rows = index * share +", "rows = 0 * index * share +",
             DEVICES + "[ring-pmap-2]"),
    Mutation("ring_as_on_policy", "algorithms.update", "off_policy=use_ring", "off_policy=False",
             UPDATE + "::test_drawn_rollouts_of_another_policy_weigh_less"),
    Mutation("every_update_alike", "algorithms.update",
             "key = jax.random.fold_in(state.key, state.step)", "key = jax.random.fold_in(state.key, 0)", RANDOMNESS),
    Mutation("actor_and_critic_drawn_alike", "algorithms.update",
             '"critic": networks.critic.init(critic_key, size)',
             '"critic": networks.critic.init(jax.random.clone(actor_key), size)',
             UPDATE + "::test_a_fresh_state"),
    # Acting and dreaming.
    Mutation("policy_keeps_the_old_state", "agents.acting",
             "return Carry(state, action, plan)", "return Carry(carry.state, action, plan)", AGENT),
    Mutation("policy_without_real_mask", "agents.acting",
             "mask = jnp.asarray(obs[MASK_KEY]) > 0 if", "mask = jnp.asarray(obs[MASK_KEY]) >= 0 if", AGENT),
    Mutation("policy_shares_a_key", "agents.acting", "decide(params, state, obs, chosen, plan, split[:, 1], greedy)",
             "decide(params, state, obs, chosen, plan, split[:, 0], greedy)", RANDOMNESS),
    Mutation("dream_acts_late", "agents.dream_agent", "last, action[:, context - 1 : -1]", "last, action[:, context:]",
             AGENT),
    Mutation("dream_sees_one_more", "agents.dream_agent", "lambda x: x[:, context - 1], post",
             "lambda x: x[:, context], post",
             AGENT),
    Mutation("next_by_the_next_action", "agents.dream_agent",
             "flat_action = action[:, :-1]", "flat_action = action[:, 1:]", AGENT),
    # The grid world model.
    Mutation("grid_window_without_border", "models.grid_layers", "x.dtype), ((0, 0), (0, 0), *pads), constant_values=1)",
             "x.dtype), ((0, 0), (0, 0), *pads), constant_values=0)",
             GRID + "::test_window_against_numpy_and_place_is_its_transpose"),
    Mutation("grid_place_off_by_one", "models.grid_layers", "row[:, None] + up, -1", "row[:, None] + up + 1, -1",
             GRID + "::test_window_against_numpy_and_place_is_its_transpose"),
    Mutation("grid_focus_of_all_channels", "models.grid_layers", "occupied = cells[:, -1] > 0.5",
             "occupied = jnp.max(cells, 1) > 0.5", GRID + "::test_the_place_of_the_action"),
    Mutation("grid_focus_by_columns", "models.grid_layers", "index // layout.width, index % layout.width",
             "index % layout.height, index // layout.height", GRID + "::test_the_place_of_the_action"),
    Mutation("grid_band_knows_its_column", "models.grid_layers",
             "relative = jnp.clip(np.arange(height)[None] - row[:, None], -5, 5) + 5",
             "relative = jnp.clip(column[:, None] + 0 * np.arange(height)[None], 0, 10)",
             GRID + "::test_band_edits_move_over_columns_and_see_the_whole_band"),
    Mutation("grid_pointer_moves_up", "models.grid_layers", "weight[..., d : d + 1] * _down(rows, d, 0.0)",
             "weight[..., d : d + 1] * _down(rows[:, ::-1], d, 0.0)[:, ::-1]",
             GRID + "::test_a_pointer_moves_rows_down_and_blanks_the_top"),
    Mutation("grid_pointer_score_of_the_target", "models.grid_layers", "_down(score[..., d : d + 1], d, -20.0)[..., 0]",
             "score[..., d]", GRID + "::test_a_pointer_can_clear_lines"),
    Mutation("grid_pointer_counts_itself", "models.grid_layers", "below = sums_below(feature) - feature",
             "below = sums_below(feature)", GRID + "::test_a_pointer_can_clear_lines"),
    Mutation("grid_pointer_not_normalised", "models.grid_layers",
             "weight = jax.nn.softmax(", "weight = jax.nn.sigmoid(",
             GRID + "::test_pointers_keep_probabilities_probabilities"),
    Mutation("grid_band_blind_from_below", "models.grid_layers",
             "from_below = jnp.exp(-sums_below(hazard))", "from_below = from_above",
             GRID + "::test_band_edits_move_over_columns_and_see_the_whole_band"),
    Mutation("grid_band_mirrored", "models.grid_layers", "left, right, around, hazards = 2, 5, 3, 8",
             "left, right, around, hazards = 5, 2, 3, 8",
             GRID + "::test_band_edits_move_over_columns_and_see_the_whole_band"),
    Mutation("grid_hard_pointer_of_the_lightest", "models.grid_layers", "best = jnp.argmax(weight, -1)",
             "best = jnp.argmin(weight, -1)", GRID + "::test_a_hard_pointer_takes_the_heaviest_shift_alone"),
    Mutation("grid_hard_pointer_never_blank", "models.grid_layers", "(best > MAX_SHIFT)[..., None]",
             "(best > MAX_SHIFT + 1)[..., None]", GRID + "::test_a_hard_pointer_takes_the_heaviest_shift_alone"),
    Mutation("grid_dreams_with_a_soft_pointer", "models.grid", "memory, stoch, True)", "memory, stoch, False)",
             GRID + "::test_imagined_cells_are_sharp_and_are_what_predict_says"),
    Mutation("grid_scores_blind_to_the_border", "models.grid_layers", "jnp.concatenate([around, outside], -1)",
             "jnp.concatenate([around, 0 * outside], -1)",
             GRID + "::test_scores_of_cells_move_over_columns_and_are_local"),
    Mutation("grid_scores_by_column", "models.grid_layers", "jnp.swapaxes(out.astype(jnp.float32), 1, 2)",
             "out.astype(jnp.float32)", GRID + "::test_scores_of_cells_move_over_columns_and_are_local"),
    Mutation("grid_effects_of_the_next_step", "models.grid",
             "[start.deter[:, None, :shown], embed[:, :-1, model.units :]]",
             "[start.deter[:, None, :shown], embed[:, 1:, model.units :]]",
             GRID + "::test_effects_of_a_window_at_once_are_those_of_its_steps"),
    Mutation("grid_effects_across_resets", "models.grid", "jnp.where(is_first[..., None], 0.0, x)", "x",
             GRID + "::test_effects_of_a_window_at_once_are_those_of_its_steps"),
    Mutation("grid_first_steps_of_episodes_unread", "algorithms.world_model_loss",
             "known.at[:, 0].set(jnp.asarray(batch.is_first, known.dtype)[:, 0])", "known.at[:, 0].set(0.0)",
             GRID + "::test_first_steps_without_a_past_are_not_reconstructed"),
    Mutation("grid_first_steps_with_a_past_unread", "algorithms.world_model_loss",
             "if world_model.needs_previous and batch.context is None:", "if world_model.needs_previous:",
             GRID + "::test_first_steps_without_a_past_are_not_reconstructed"),
    Mutation("grid_heads_begin_anywhere", "models.grid", "scale=0.0, **head", "scale=1.0, **head",
             GRID + "::test_a_small_grid_model_learns_the_rules_of_falling_blocks"),
    Mutation("grid_posterior_of_a_guess", "models.grid",
             "jnp.concatenate([embed[..., model.units :], memory], -1)",
             "jnp.concatenate([state.deter[..., : layout.cells + layout.vector], memory], -1)",
             GRID + "::test_a_posterior_holds_what_was_observed_and_decodes_to_it"),
    Mutation("grid_no_reset", "models.grid", "state, action = reset_where(is_first, state, action)", "pass",
             GRID + "::test_resets_and_rows"),
    Mutation("grid_predict_sees_the_answer", "models.grid",
             'call("predict", params, flat[0], flat[1], memory, flat[2].stoch)',
             'call("predict", params, flat[2], flat[1], memory, flat[2].stoch)', GRID + "::test_what_predictions_read"),
    Mutation("grid_predict_with_old_memory", "models.grid", "memory = split_state(layout, flat[2].deter)[2]",
             "memory = split_state(layout, flat[0].deter)[2]", GRID + "::test_what_predictions_read"),
    Mutation("grid_predict_blind_to_actions", "models.grid", "action = action / jax.lax.stop_gradient(",
             "action = 0 * action / jax.lax.stop_gradient(", GRID + "::test_what_predictions_read"),
    Mutation("grid_pairs_with_themselves", "models.grid_layers", "np.triu_indices(len(places), 1)",
             "np.triu_indices(len(places), 0)", GRID + "::test_pairs_of_buttons"),
    Mutation("grid_bounded_gradients_lead_out", "models.grid_layers", "further = ((x > limit) & (grad < 0))",
             "further = ((x > limit) & (grad > 0))", GRID + "::test_bounded_logits_pass_gradients_that_lead_back"),
    Mutation("grid_pointer_squashed", "models.grid_layers", "score = bounded(self.score(GAIN * hidden), SCORE)",
             "score = self.score(GAIN * hidden)", GRID + "::test_a_pointer_that_is_sure_of_no_shift_still_learns_one"),
    Mutation("motion_turns_at_first", "models.grid_motion", ".at[:, 0].add(NONE + CAP)", ".at[:, 0].add(NONE)",
             MOTION + "::test_nothing_turns_at_first"),
    Mutation("even_rows_first", "config", "due = np.floor(np.arange(count + 1) * self.even + 1e-6)",
             "due = np.minimum(np.arange(count + 1), round(count * self.even))",
             "tests/buffers/test_samplers.py::test_an_even_share_lies_in_rows_of_its_own_and_is_uniform"),
    Mutation("even_share_in_the_other_rows", "buffers.samplers", "((self.even, rows), (self.base, others))",
             "((self.even, others), (self.base, rows))",
             "tests/buffers/test_samplers.py::test_an_even_share_lies_in_rows_of_its_own_and_is_uniform"),
    Mutation("new_steps_as_likely_as_one", "buffers.samplers", "self.tree.total / np.sum(was_valid - was_low) if",
             "1.0 if",
             "tests/buffers/test_samplers.py::test_new_steps_are_as_likely_as_the_mean_of_the_starts_before_them"),
    Mutation("behaviours_learn_from_all_windows", "algorithms.update", "jax.tree.map(lambda x: x[even], (batch, post))",
             "(batch, post)", UPDATE + "::test_behaviours_learn_from_the_evenly_drawn_windows_alone"),
    Mutation("grid_dreams_are_blurred", "models.grid",
             "return (probs > 0.5).astype(jnp.float32).reshape(", "return probs.reshape(",
             GRID + "::test_imagined_cells_are_sharp_and_are_what_predict_says"),
    Mutation("grid_dreams_of_several_classes", "models.grid", "    if layout.classes > 2:\n            shaped = probs",
             "    if layout.classes > 9:\n            shaped = probs",
             GRID + "::test_imagined_cells_are_sharp_and_are_what_predict_says"),
    Mutation("grid_discretes_not_settled", "models.grid", "settle(vector), memory", "vector, memory",
             GRID + "::test_imagined_cells_are_sharp_and_are_what_predict_says"),
    Mutation("grid_decode_inverted", "models.grid", "(2 * cells - 1) * SURE", "(1 - 2 * cells) * SURE",
             GRID + "::test_a_posterior_holds_what_was_observed_and_decodes_to_it"),
    Mutation("grid_images_allowed", "models.grid_layers", "if len(grids) != 1 or images:", "if len(grids) != 1:",
             GRID + "::test_only_one_grid_and_no_image"),
    Mutation("grid_masks_are_cells", "models.grid",
             'if MASK_KEY in self.spec.obs and layout.focus == "action":', "if MASK_KEY in self.spec.obs:",
             GRID + "::test_a_whole_update_fits_together"),
    Mutation("grid_without_absolute_edit", "models.grid",
             "room[..., None, None] * appears", "0 * appears",
             GRID + "::test_a_prediction_by_hand"),
    Mutation("grid_pointer_misreads_filling", "models.grid_layers",
             "[jnp.min(by_row, -1), jnp.mean", "[jnp.max(by_row, -1), jnp.mean",
             GRID + "::test_a_pointer_reads_how_much_of_a_row_each_channel_fills"),
    Mutation("grid_without_pointer", "models.grid",
             "moved = self.pointer(probs, hard)", "moved = probs + 0 * self.pointer(probs, hard)",
             GRID + "::test_a_prediction_by_hand"),
    Mutation("grid_keeps_nothing", "models.grid", "(2 * cells - 1) * self.keep[None], row", "0 * cells, row",
             GRID + "::test_a_prediction_by_hand"),
    Mutation("grid_edits_nothing", "models.grid_layers", "still + place(edit, row,", "still + 0 * place(edit, row,",
             GRID + "::test_a_small_grid_model_learns_the_rules_of_falling_blocks"),
    # The motion of an object.
    Mutation("motion_overlaps_one_row_off", "models.grid_motion", ": rows - height + 1], 1)", "1 : rows - height + 2], 1)",
             MOTION + "::test_overlaps_against_loops"),
    Mutation("motion_lowered_upwards", "models.grid_motion", '"nrs,nsc->nrc", weight', '"nsr,nsc->nrc", weight',
             MOTION + "::test_lowered_against_loops"),
    Mutation("motion_shifted_to_the_left", "models.grid_motion", "(max(by, 0), max(-by, 0))", "(max(-by, 0), max(by, 0))",
             MOTION + "::test_shifted_against_roll"),
    Mutation("motion_stops_before_it_is_there", "models.grid_motion", "np.float32), 1)", "np.float32), 0)",
             MOTION + "::test_stops_by_hand"),
    Mutation("motion_must_before_it_wants", "models.grid_motion", "alive * jnp.exp(-wanted) * -jnp.expm1(-stopped)",
             "alive * -jnp.expm1(-stopped)", MOTION + "::test_stops_by_hand"),
    Mutation("motion_out_of_the_grid", "models.grid_motion", "MARGIN, constant_values=1)", "MARGIN, constant_values=0)",
             MOTION + "::test_it_turns_unless_something_is_in_the_way"),
    Mutation("motion_stops_on_what_it_touches", "models.grid_motion", "jnp.concatenate([blocked, floor], 1))[:, 1:]",
             "jnp.concatenate([blocked, floor], 1))[:, :-1]",
             MOTION + "::test_what_never_wants_to_stop_falls_as_far_as_it_can_and_joins"),
    Mutation("motion_never_joins", "models.grid_motion", "joined = (joins[..., None] * landed)",
             "joined = (0 * joins[..., None] * landed)",
             MOTION + "::test_what_never_wants_to_stop_falls_as_far_as_it_can_and_joins"),
    Mutation("motion_sideways_through_walls", "models.grid_motion", "jnp.exp(-strength[:, 1:2] * jnp.stack(",
             "jnp.exp(-0 * strength[:, 1:2] * jnp.stack(",
             MOTION + "::test_it_goes_sideways_and_one_row_down_unless_something_is_in_the_way"),
    Mutation("motion_refused_steps_are_lost", "models.grid_motion", ".add(1 - jnp.sum(goes, 1))", ".add(0.0)",
             MOTION + "::test_it_goes_sideways_and_one_row_down_unless_something_is_in_the_way"),
    Mutation("motion_turns_through_walls", "models.grid_motion", "takes = jnp.exp(-strength",
             "takes = jnp.exp(-0 * strength", MOTION + "::test_it_turns_unless_something_is_in_the_way"),
    Mutation("motion_turns_to_the_right", "models.grid_motion", "jnp.rot90(patch, times,", "jnp.rot90(patch, -times,",
             MOTION + "::test_quarter_turns_by_hand"),
    Mutation("motion_turns_about_the_corner", "models.grid_motion", "around + -grown // 2, around + grown // 2",
             "around, around", MOTION + "::test_quarter_turns_by_hand"),
    Mutation("motion_misses_the_other_way", "models.grid_motion", "range(2 * SHIFT, -1, -1)", "range(2 * SHIFT + 1)",
             MOTION + "::test_turned_is_the_mean_over_turns_and_where_they_end"),
    Mutation("motion_leaves_what_turned", "models.grid_motion", "change = new - jnp.pad(patch,",
             "change = new - 0 * jnp.pad(patch,",
             MOTION + "::test_turned_is_the_mean_over_turns_and_where_they_end"),
    Mutation("motion_turns_onto_itself", "models.grid_motion", "jnp.clip(changed, 0.0, 1.0)", "changed",
             MOTION + "::test_cells_of_any_board_are_likely_or_not_but_finite"),
    Mutation("motion_leaves_no_room", "models.grid_motion", ".at[:, -1].set(joins[:, 0])",
             ".at[:, -1].set(1 - joins[:, 0])", MOTION + "::test_there_is_room_where_the_object_has_joined"),
    # One step of search.
    Mutation("search_trusts_the_critic_anyway", "algorithms.search", "reward + bootstrap * discount *",
             "reward + discount *", SEARCH),
    Mutation("search_goes_on_after_the_end", "algorithms.search", "config.loss.reach), config.loss.gamma * cont",
             "config.loss.reach), config.loss.gamma * jnp.ones_like(cont)", SEARCH),
    Mutation("search_discount_twice", "algorithms.search", "cont = jnp.minimum(cont / config.loss.gamma, 1.0)", "pass",
             SEARCH),
    Mutation("search_weighs_the_illegal", "algorithms.search", "jax.nn.softmax(jnp.where(tried.legal, score, NEVER))",
             "jax.nn.softmax(score)", SEARCH),
    Mutation("search_temperature_upside_down", "algorithms.search", "/ config.search.temperature",
             "* config.search.temperature", SEARCH),
    Mutation("search_spread_of_the_illegal", "algorithms.search", "share = legal / ", "share = jnp.ones_like(q) / ",
             SEARCH),
    Mutation("search_variance_for_deviation", "algorithms.search", "/ jnp.sqrt(variance + 1e-8)", "/ (variance + 1e-8)",
             SEARCH),
    Mutation("search_luck_by_candidate", "algorithms.search", "tried.action.reshape(n * k, -1), repeat(keys)",
             "tried.action.reshape(n * k, -1), jnp.tile(keys, k)", SEARCH),
    Mutation("search_taken_not_first", "algorithms.search", "jnp.where(distance < 0.5, -NEVER, score)", "score", SEARCH),
    # Planning: whose luck, whose children, what is drawn twice, what is illegal, what is foreseen.
    Mutation("tree_luck_by_child", "algorithms.tree_search", "fold(own, LUCK))",
             "fold(jax.vmap(jax.random.fold_in)(own, index + CHILD), LUCK))", TREE),
    Mutation("tree_children_with_one_key", "algorithms.tree_search", "(own, index + CHILD)", "(own, 0 * index + CHILD)",
             TREE),
    Mutation("tree_credits_twice", "algorithms.tree_search", "legal = jnp.argmax(same, -1) == jnp.arange(count)[None]",
             "legal = jnp.argmax(same, -1) > -1", TREE),
    Mutation("tree_prior_of_draws_is_the_policys", "algorithms.tree_search", "jnp.log(jnp.sum(same, -1) / count)",
             "jnp.stack([policy.log_prob(a) for a in jnp.swapaxes(action, 0, 1)], 1)", TREE),
    Mutation("tree_takes_the_illegal", "algorithms.tree_search", "jnp.where(legal, log_prob, NEVER)", "log_prob", TREE),
    Mutation("tree_without_noise", "algorithms.tree_search", "tried.noise + score", "score", TREE),
    Mutation("plans_from_the_predicted_mask", "agents.acting", "make_policy(spec.action, outputs, mask, config.actor)",
             "make_policy(spec.action, outputs, None, config.actor)", PLANNING),
    Mutation("plans_where_all_is_legal", "algorithms.planning", "world_model.mask(model, feat) > 0",
             "world_model.mask(model, feat) > -9", PLANNING),
    Mutation("rules_foresee_a_piece", "agents.real_rules", "if not peek:", "if False:", PLANNING),
    Mutation("bags_dealt_anew", "envs.tetris.unseen", "jnp.where(settled, place.astype(jnp.float32), order)", "order",
             "tests/envs/tetris/test_unseen.py"),
    Mutation("shots_without_the_end", "algorithms.shooting", "total + weight * values[-1]", "total", SHOOTING),
    Mutation("shots_discounted_late", "algorithms.shooting", "total + weight * reward, weight * discount",
             "total + weight * discount * reward, weight * discount", SHOOTING),
    Mutation("shots_that_are_illegal", "algorithms.shooting", "(theirs.probs > 0)", "(theirs.probs >= 0)", SHOOTING),
    Mutation("shots_keep_the_worst", "algorithms.shooting", "index = jnp.argmax(returns, 1)",
             "index = jnp.argmin(returns, 1)", SHOOTING),
    Mutation("replay_priority_of_the_start", "buffers.sequence_buffer", "[priority[:, 1:], priority[:, -1:]]",
             "[priority[:, :1], priority[:, 1:]]", "tests/buffers/test_sequence_buffer.py"),
    Mutation("imitates_the_end", "algorithms.actor_critic", "return -jnp.mean(live * policy", "return -jnp.mean(policy",
             ACTOR_CRITIC),
    Mutation("imitation_left_out", "algorithms.update",
             'total += imitation * metrics["train/loss/actor_imitation"]', "total += 0.0", UPDATE),
    Mutation("held_worth_of_the_end", "algorithms.held_plans", "return jnp.max(worth, 0)", "return worth[-1]", HELD),
    Mutation("held_worth_undiscounted", "algorithms.held_plans", "total + weight * value", "total + value", HELD),
    Mutation("held_plan_stands_still", "algorithms.held_plans", "[plan[:, 1:], plan[:, -1:]]", "[plan[:, :1], plan[:, 1:]]",
             HELD),
    Mutation("held_parts_change_together", "algorithms.held_plans",
             'apart = 1 if part.kind == "categorical" else part.size', "apart = 1", HELD),
    Mutation("held_presses_what_is_kept_away", "algorithms.held_plans", "jnp.minimum(0.5, jnp.stack",
             "jnp.maximum(0.1, jnp.stack", HELD),
    Mutation("held_rare_presses_at_once", "algorithms.held_plans", "jnp.stack([begins, config",
             "jnp.stack([config.planner.horizon * begins, config", HELD),
    Mutation("held_without_the_actor", "algorithms.held_plans", ".at[:, 0, 0].set(mode)", "", HELD),
    Mutation("held_luck_of_its_own", "algorithms.held_plans", "state, luck = jax.tree.map(repeat, (state, luck))",
             "state = jax.tree.map(repeat, state); luck = jax.random.split(luck[0], rows * count)", HELD),
    Mutation("held_plan_outlives_its_episode", "agents.acting", "jnp.where(is_first[:, None, None], 0.0, carry.plan)",
             "carry.plan", PLANNING),
    Mutation("mppi_upside_down", "algorithms.shooting", "off / spread / config.temperature",
             "-off / spread / config.temperature", SHOOTING),
    Mutation("tree_backup_reward_of_now", "algorithms.search", "reward[:, 1:], discount[:, 1:]",
             "reward[:, :-1], discount[:, 1:]", SEARCH),
    Mutation("tree_backup_end_of_now", "algorithms.search", "reward[:, 1:], discount[:, 1:]",
             "reward[:, 1:], discount[:, :-1]", SEARCH),
    Mutation("tree_backup_over_ends", "algorithms.search",
             "lam * taken_weight * (1.0 - is_last.astype(jnp.float32))", "lam * taken_weight", SEARCH),
    Mutation("tree_backup_from_the_value", "algorithms.search", "discount_next * following - q)",
             "discount_next * following - value)", SEARCH),
    Mutation("distillation_of_the_illegal", "algorithms.search",
             "jnp.where(tried.legal, searched.weight * spread.log_prob(tried.action), 0.0)",
             "searched.weight * spread.log_prob(tried.action)", SEARCH),
    Mutation("search_teaches_after_the_end", "algorithms.search_loss",
             "actor_loss = jnp.mean(live * distil.reshape(live.shape))",
             "actor_loss = jnp.mean(distil.reshape(live.shape))", SEARCH_LOSS),
    Mutation("search_values_of_the_end", "algorithms.search_loss", "slow, targets.value, live, config)",
             "slow, targets.value, jnp.ones_like(live), config)", SEARCH_LOSS),
    Mutation("search_replaces_where_it_adds", "algorithms.update",
             "found = jax.tree.map(jnp.add, found, (grads[\"actor\"], grads[\"critic\"]))", "pass", SEARCH_LOSS),
    Mutation("search_takes_the_worst", "agents.dream_agent", "index = jnp.argmax(score, 1)",
             "index = jnp.argmin(score, 1)", AGENT + "::test_greedy_search_takes_the_best_legal_action"),
    Mutation("search_takes_the_illegal", "agents.dream_agent", "score = jnp.where(tried.legal, score, NEVER)", "pass",
             AGENT + "::test_greedy_search_takes_the_best_legal_action"),
    # Switches that would do nothing, or more than they say; priorities that never come back.
    Mutation("a_switch_without_effect", "algorithms.world_model_loss",
             "cont_target *= scales.gamma", "cont_target *= 1 - 1 / 333", SWITCHES),
    Mutation("a_switch_with_two_effects", "algorithms.actor_critic",
             "loss += config.critic.slow_regulariser *",
             "loss += config.critic.slow_regulariser * config.critic.replay_scale / 0.3 *", SWITCHES),
    Mutation("dreamerv3_leans_on_its_base", "presets",
             "reward_head=\"twohot\", bins=255,\n        ),", "bins=255,\n        ),", "tests/test_presets.py"),
    Mutation("segments_dropped_too_early", "training.segments",
             "if (head > oldest).any()]", "if (head > oldest).all()]", "tests/training/test_segments.py"),
    Mutation("segments_after_a_failed_save", "training.segments",
             "        buffer = self._buffer\n        folder.mkdir()",
             "        buffer = self._buffer\n        self.written(folder)\n        folder.mkdir()",
             "tests/training/test_segments.py"),
    Mutation("damage_signed_by_the_next_save", "training.checkpoint",
             "            return known[name]", "            pass", "tests/training/test_segments.py"),
    Mutation("bad_updates_leave_their_mark", "training.finite",
             "jnp.where(good, a, b)", "a", "tests/training/test_finite.py"),
    Mutation("one_bad_update_too_many", "training.metrics",
             "self._in_a_row > self._skip", "self._in_a_row > self._skip + 1",
             "tests/training/test_trainer.py::test_bad_updates_are_left_out_and_told"),
    Mutation("a_warm_critic_with_a_cold_target", "training.warm_start",
             'slow = jax.tree.map(jnp.copy, params["critic"])', "pass",
             "tests/training/test_beginnings.py"),
    Mutation("hangs_told_once", "training.watchdog", "self._next *= 2", "self._next = 1e9", WATCHDOG),
    Mutation("patience_is_not_renewed", "training.watchdog", "self._seen, self._next = call, self._patience",
             "self._seen = call", WATCHDOG),
    Mutation("seeds_of_evaluation_in_training", "seeds", "return seed if seed >= EVALUATION else seed + EVALUATION",
             "return seed", "tests/test_seeds.py"),
    Mutation("derived_seeds_cross_over", "seeds", "else EVALUATION + drawn % 2**30", "else drawn", "tests/test_seeds.py"),
    Mutation("priorities_never_return", "training.trainer",
             "priority=np.asarray(outs.priority)", "priority=np.ones_like(outs.priority)",
             "tests/training/test_trainer.py::test_a_prioritised_run_draws_surprising_windows_more_often"),
    # Baselines: what a placement is worth, where new games begin, how runs become a curve.
    Mutation("wells_without_their_depth", "experiments.baselines.heuristics",
             "runs & (runs >> jnp.uint32(1))", "runs & jnp.uint32(0)", "tests/experiments/test_heuristics.py"),
    Mutation("landing_on_top_of_the_piece", "experiments.baselines.heuristics",
             "(bottom - top + 1) / 2", "(bottom - top + 1)", "tests/experiments/test_heuristics.py"),
    Mutation("drop_before_it_stands_right", "experiments.baselines.heuristics",
             "(turned == turn) & (shifted == x)", "shifted == x", "tests/experiments/test_heuristics.py"),
    Mutation("last_sight_is_of_the_next_game", "experiments.baselines.games",
             "final_obs=flat_observation(config, after)", "final_obs=flat_observation(config, going)",
             "tests/experiments/test_baselines.py"),
    Mutation("games_measured_beyond_their_end", "experiments.baselines.games",
             "ended = waiting & (turn.terminated | turn.truncated)", "ended = turn.terminated | turn.truncated",
             "tests/experiments/test_baselines.py"),
    Mutation("loss_told_as_time_limit", "experiments.baselines.games",
             "bool(turn.truncated[i] and not turn.terminated[i])", "True", "tests/experiments/test_baselines.py"),
    Mutation("error_over_games_for_seeds", "experiments.baselines.curves",
             "if len(means) > 1:", "if len(means) > 9:", "tests/experiments/test_compare.py"),
    Mutation("population_deviation", "experiments.baselines.curves",
             "np.std(values, ddof=1)", "np.std(values)", "tests/experiments/test_compare.py"),
    # Exploration by disagreement.
    Mutation("one_bootstrap_for_all", "algorithms.exploration",
             "jax.random.exponential(key, (count,))", "jnp.repeat(jax.random.exponential(key, (1,)), count)",
             EXPLORATION),
    Mutation("bootstrap_by_local_row", "algorithms.exploration",
             "(row_keys(key, row)).T", "(row_keys(key, row - row[0])).T", EXPLORATION),
    Mutation("predictions_across_resets", "algorithms.exploration",
             "1.0 - is_first[:, 1:].astype", "1.0 - is_first[:, :-1].astype", EXPLORATION),
    Mutation("predictions_of_this_step", "models.ensemble",
             "flat = following.stoch.reshape", "flat = state.stoch.reshape", ENSEMBLE),
    Mutation("ensemble_teaches_the_model", "algorithms.exploration",
             "jax.lax.stop_gradient((feat[:, :-1], action[:, :-1]))", "(feat[:, :-1], action[:, :-1])", EXPLORATION),
    Mutation("disagreement_of_features", "algorithms.exploration", "jnp.var(predictions, 0)", "jnp.var(predictions, -2)",
             EXPLORATION),
    Mutation("bonus_before_the_action", "algorithms.exploration", "((0, 0), (1, 0)))", "((0, 0), (0, 1)))", EXPLORATION),
    Mutation("bonus_of_one_device", "algorithms.exploration",
             "rate=rate, axis_name=axis_name)", "rate=rate, axis_name=None)", EXPLORATION),
    Mutation("bonus_not_normalised", "algorithms.exploration", "disagreed / scale", "disagreed", EXPLORATION),
    Mutation("members_alike", "models.ensemble", 'split_rngs={"params": True}', 'split_rngs={"params": False}', ENSEMBLE),
    Mutation("ensemble_changes_the_others", "algorithms.update",
             "bootstrap_key = jax.random.fold_in(key, 3)",
             "bootstrap_key = jax.random.fold_in(key, 3)\n                model_grads = jax.tree.map("
             "lambda x: 2 * x, model_grads)\n                grads[\"world_model\"] = model_grads", SWITCHES),
    Mutation("unsure_a_step_too_early", "algorithms.exploration",
             "jnp.pad(trusted, ((0, 0), (1, 0)), constant", "jnp.pad(trusted, ((0, 0), (0, 1)), constant", EXPLORATION),
    Mutation("stops_where_it_is_sure", "algorithms.exploration", "disagreed <= limit", "disagreed > limit", EXPLORATION),
    Mutation("replayed_disagreement_across_resets", "algorithms.exploration",
             "jnp.where(is_first[:, 1:], 0.0", "jnp.where(is_first[:, :-1], 0.0", EXPLORATION),
    Mutation("explorer_dreams_of_the_task", "algorithms.update",
             "rollouts = dream_phase(own.params,", "rollouts = dream_phase(state.params,", EXPLORER),
    Mutation("explorer_learns_the_task_in_replay", "algorithms.update",
             "batch = dataclasses.replace(batch, reward=paid)", "batch = dataclasses.replace(batch)", EXPLORER),
    Mutation("explorer_shares_the_slow_critic", "algorithms.exploration",
             "slow_critic=explorer.slow_critic, retnorm", "slow_critic=state.slow_critic, retnorm", EXPLORER),
    # Several steps in one call: keys, resets, what the games and the schedule know of it.
    Mutation("every_step_of_a_call_by_one_key", "training.compiled_collector",
             "np.uint32(counted) * jnp.arange", "np.uint32(0) * jnp.arange", COMPILED),
    Mutation("no_reset_within_a_call", "training.compiled_collector",
             "(carry, obs, is_last, words, over), told", "(carry, obs, is_first, words, over), told", COMPILED),
    Mutation("a_call_acts_at_the_end_of_an_episode", "training.compiled_collector",
             "jnp.where(is_last[:, None], 0, action)", "jnp.where(is_last[:, None], action, action)", COMPILED),
    Mutation("a_call_leaves_the_games_behind", "envs.tetris.gym",
             "        self._words = words\n        return", "        return", COMPILED),
    Mutation("wrappers_passed_over", "training.compiled_collector",
             "type(env.env) is not TetrisVectorEnv", "type(env.env.unwrapped) is not TetrisVectorEnv", COMPILED),
    Mutation("updates_owed_for_one_step_of_a_call", "training.trainer",
             "due = self.schedule.due(self.step + in_call)", "due = self.schedule.due(self.step + config.num_envs)",
             CALLS),
    Mutation("drawn_before_there_is_anything", "training.trainer",
             "early = due and self.buffer.num_windows(config.batch_length)", "early = due", CALLS),
    Mutation("explorer_collects_for_ever", "training.trainer",
             "self.step >= self.config.explore.steps", "not self.config.explore.steps", "tests/training/test_trainer.py"),
    Mutation("explorer_plans_for_the_task", "algorithms.planning",
             "if NOVELTY in params:", "if NOVELTY in params and False:", "tests/agents/test_planning_agent.py"),
    Mutation("plans_paid_in_other_units", "algorithms.exploration",
             "disagreed, novelty.scale,", "disagreed, 1.0,", "tests/agents/test_planning_agent.py"),
    Mutation("plans_end_in_other_units", "algorithms.exploration",
             "novelty.limit * novelty.scale", "novelty.limit", "tests/agents/test_planning_agent.py"),
    Mutation("doubt_pays_plans", "algorithms.exploration",
             "(-planner.penalty,", "(planner.penalty,", "tests/algorithms/test_explorer.py"),
    Mutation("doubt_in_unknown_units", "algorithms.exploration",
             "novelty.count > 0", "novelty.count >= 0", "tests/algorithms/test_explorer.py"),
    Mutation("tree_teaches_without_doubt", "algorithms.update",
             "planning_params(state.params, state.novelty, config)", "state.params", "tests/test_switches.py"),
    Mutation("deferred_backwards_untransposed", "models.deferred",
             "jnp.swapaxes(kernel, -1, -2)), None", "kernel), None", "tests/models/test_deferred.py"),
    Mutation("deferred_in_half_precision", "models.deferred",
             "dtype=kernel.dtype", "dtype=dtype", "tests/models/test_deferred.py"),
    Mutation("kernel_gradient_untransposed", "models.kernels",
             "return swapped.T", "return swapped.reshape(swapped.shape[::-1])", "tests/models/test_kernels.py"),
    Mutation("recalled_without_gradient_to_the_kernel", "models.kernels",
             "(*_cotangents(kept, given), None)", "(given @ kept[1].T, jnp.zeros_like(kept[1]), None)",
             "tests/models/test_kernels.py"),
    Mutation("products_of_the_step_before", "algorithms.imagination",
             "[x, jnp.zeros_like(x[:1])]", "[jnp.zeros_like(x[:1]), x]", IMAGINATION),
    Mutation("products_of_another_actor", "algorithms.update",
             "kept = None if config.imagination.use_ring or", "kept = None if",
             "tests/algorithms/test_update.py"),
    Mutation("replay_teaches_the_critic_by_half", "algorithms.update",
             "at_start = lambda x: x[:, 0]", "at_start = lambda x: (x / 2 + jax.lax.stop_gradient(x / 2))[:, 0]",
             "tests/algorithms/test_update.py"),
    Mutation("values_of_the_wrong_end", "algorithms.update",
             "x[:, 0].reshape(*reward.shape, -1)", "x[:, -1].reshape(*reward.shape, -1)",
             "tests/algorithms/test_update.py"),
    Mutation("shared_rows_prepared_from_own", "models.rssm",
             'side_by_side(cell["hidden"]["kernel"][:, own:])', 'side_by_side(cell["hidden"]["kernel"][:, -own:])',
             "tests/models/test_rssm.py"),
    Mutation("a_layer_not_deferred", "models.rssm",
             '("cell", "post_deter", "post_hidden", "post_out")', '("cell", "post_deter", "post_out")',
             "tests/models/test_deferred.py"),
    Mutation("shared_rows_not_deferred", "models.rssm",
             '(kernel[:, :own], params["wide"])', '(kernel[:, :own], 0 * params["wide"])',
             "tests/models/test_deferred.py"),
    Mutation("parts_cut_rollouts", "algorithms.update",
             "windows % parts == states[0] % parts == 0", "windows % parts == 0", UPDATE),
    Mutation("some_leaves_out_of_order", "training.checkpoint",
             "{name: found[name] for name in like}", "found", "tests/training/test_checkpoint.py"),
    Mutation("ranks_without_ties", "reporting.uncertainty",
             "(last - (counts - 1) / 2)[inverse]", "last[inverse]", "tests/reporting/test_uncertainty.py"),
    Mutation("errors_sorted_the_wrong_way", "reporting.uncertainty",
             "np.argsort(disagreement, kind", "np.argsort(-disagreement, kind", "tests/reporting/test_uncertainty.py"),
    Mutation("coverage_of_what_falls", "training.coverage",
             "records.obs[self._name][:, 0]", "records.obs[self._name][:, -1]", "tests/training/test_coverage.py"),
    Mutation("coarse_cells_half_full", "training.coverage",
             "2 * filled > sizes[None]", "2 * filled >= sizes[None]", "tests/training/test_coverage.py"),
    # Accuracy of the world model, harder games, shipped agents.
    Mutation("accuracy_counts_contexts", "reporting.accuracy",
             "(begins[:, None] | (index >= context)[None])", "(begins[:, None] | (index >= 0)[None])", ACCURACY),
    Mutation("accuracy_unchanged_since_the_last_step", "reporting.accuracy",
             "real[:, context - 1 : context], valid", "real[:, context - 2 + k : context - 1 + k], valid", ACCURACY),
    Mutation("accuracy_clears_before_the_step", "reporting.accuracy",
             "np.nan_to_num(cleared[:, 1:])", "np.nan_to_num(cleared[:, :-1])", ACCURACY),
    Mutation("accuracy_error_of_independent_steps", "reporting.accuracy",
             "(episodes / (episodes - 1) * squares) ** 0.5 / float(total)",
             "(mean * (1 - mean) / float(total)) ** 0.5", ACCURACY),
    Mutation("model_windows_overlap", "training.model_evaluator",
             "range(0, length, max(HORIZONS))", "range(0, length, max(HORIZONS) - 1)", MODEL_EVALUATOR),
    Mutation("model_windows_forget_the_action_before", "training.model_evaluator",
             "episode.action[start - 1] if start", "episode.action[start] if start", MODEL_EVALUATOR),
    Mutation("garbage_has_one_hole_for_all_rows", "envs.tetris.rules",
             "threefry(key, (row, 2))[0] %", "threefry(key, (0, 2))[0] %", TETRIS_RULES),
    Mutation("sz_deals_z_and_j", "envs.tetris.rules",
             'jnp.uint32(PIECES.index("S"))', 'jnp.uint32(PIECES.index("Z"))', TETRIS_RULES),
    Mutation("shipped_without_its_checksum", "training.shipped", "if not intact:", "if False:", SHIPPED),
    Mutation("best_is_the_worst_checkpoint", "training.checkpoint",
             "max(scores, key=scores.__getitem__)", "min(scores, key=scores.__getitem__)", SHIPPED),
    Mutation("robustness_gains", "commands.robustness",
             'standard["mean"] - other["mean"]', 'other["mean"] - standard["mean"]', "tests/commands/test_evaluate.py"),
]  # fmt: skip


def full_name(mutation: Mutation) -> str:
    return mutation.module if mutation.module.startswith("experiments.") else f"dreamjax.{mutation.module}"


def source(mutation: Mutation) -> tuple[Path, str]:
    """File and mutated text of a mutation.

    Raises:
        LookupError: if the text to replace does not occur exactly once.
    """
    path = ROOT / (full_name(mutation).replace(".", "/") + ".py")
    text = path.read_text()
    count = text.count(mutation.old)
    if count != 1:
        raise LookupError(
            f"{mutation.name}: the text occurs {count} times in {path.relative_to(ROOT)}: {mutation.old!r}"
        )
    return path, text.replace(mutation.old, mutation.new)


class Mutant(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Imports one module from changed text; everything else as usual."""

    def __init__(self, mutation: Mutation) -> None:
        path, self.text = source(mutation)
        super().__init__(full_name(mutation), str(path))

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> object:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def get_code(self, fullname: str) -> object:
        return compile(self.text, self.path, "exec")


def run_child(mutation: Mutation) -> int:
    """Pytest's exit status under the mutation: 1 when a test failed."""
    import pytest

    sys.meta_path.insert(0, Mutant(mutation))
    return int(
        pytest.main(["-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "no:xdist", *mutation.tests.split()])
    )


def judge(mutation: Mutation) -> tuple[Mutation, str, float, str]:
    start = time.time()
    command = [sys.executable, "-m", "tests.mutations", "--child", mutation.name]
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    verdict = {0: "SURVIVED", 1: "killed"}.get(ended.returncode, "BROKEN")
    return mutation, verdict, time.time() - start, ended.stdout + ended.stderr


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", action="append", default=[], help="names that contain this; may be repeated")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    by_name = {mutation.name: mutation for mutation in MUTATIONS}
    assert len(by_name) == len(MUTATIONS), "two mutations of one name"
    if args.child:
        return run_child(by_name[args.child])
    chosen = [m for m in MUTATIONS if not args.only or any(part in m.name for part in args.only)]
    stale = []
    for mutation in chosen:
        try:
            source(mutation)
        except LookupError as error:
            stale.append(str(error))
    if stale or not chosen:
        print("\n".join(stale) or f"no mutation is called like {args.only}", file=sys.stderr)
        return 1
    tests = sorted({test for mutation in chosen for test in mutation.tests.split()})
    if subprocess.run([sys.executable, *PYTEST, *tests], cwd=ROOT).returncode:
        print("the tests fail without a mutation; nothing can be said", file=sys.stderr)
        return 1
    verdicts = []
    with ThreadPoolExecutor(args.jobs) as pool:
        for mutation, verdict, seconds, output in pool.map(judge, chosen):
            verdicts.append(verdict)
            print(f"{verdict:9} {seconds:5.1f} s  {mutation.module:30} {mutation.name}", flush=True)
            if verdict == "BROKEN":
                print(output[-3000:], file=sys.stderr)
    killed = verdicts.count("killed")
    print(
        f"{killed} of {len(verdicts)} killed, {verdicts.count('SURVIVED')} survived, {verdicts.count('BROKEN')} broken"
    )
    return 0 if killed == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
