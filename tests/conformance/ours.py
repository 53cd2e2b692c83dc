"""What DreamJAX computes of the golden numbers, by the names of their entries."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.agents.agent import Agent, make_agent, make_learner
from dreamjax.algorithms import actions
from dreamjax.algorithms.actions import make_policy
from dreamjax.algorithms.actor_critic import imagined_returns, replay_returns
from dreamjax.algorithms.distributions import scalar_decode
from dreamjax.algorithms.returns import step_weights
from dreamjax.algorithms.update import Learner
from dreamjax.algorithms.update.behavior import behavior_phase, dream, return_scale
from dreamjax.algorithms.update.state import task_behavior
from dreamjax.algorithms.update.world_model import world_model_phase
from dreamjax.models import latents
from dreamjax.types import Batch, TrainState
from tests.conformance import reference
from tests.conformance.reference import Tensors, below
from tests.helpers.xla import QUICK

LOSSES = {  # of the reference, by our names
    "rec": "rec_vector", "rew": "reward", "con": "cont", "dyn": "dyn", "rep": "rep",
    "policy": "actor", "value": "critic", "repval": "critic_replay",
}  # fmt: skip
SCALES = {"rec": 1.0, "rew": 1.0, "con": 1.0, "dyn": 1.0, "rep": 0.1, "policy": 1.0, "value": 1.0, "repval": 0.3}
WARM = 300  # updates after which percentiles are nearly unbiased


class Case(NamedTuple):
    """One file's numbers and ours, by entry (``reference.entries``)."""

    golden: Tensors
    ours: Tensors


def compute(kind: str) -> Case:
    """Both sides of one file: an update taken apart, the same with other percentiles, and twenty updates."""
    golden = reference.load(kind)
    config, spec = reference.config(), reference.spec(kind)
    agent = make_agent(config, spec)
    learner = make_learner(agent.networks, config, spec)
    batch = reference.batch(golden)
    cold = reference.state(golden, learner.optimizers)
    low, high = golden["warm/percentiles_before"]
    warm = reference.state(golden, learner.optimizers, low, high, WARM)
    with pytest.MonkeyPatch.context() as patch:
        for module in (latents, actions):
            patch.setattr(module, "row_uniform", reference.table(golden))
            patch.setattr(module, "row_normal", reference.table(golden))
        once = jax.jit(functools.partial(pieces, learner), compiler_options=QUICK)
        ours = one_update(golden, *once(cold, batch))
        other = one_update(golden, *once(warm, batch))
        ours |= {
            "warm/percentiles_after": other["percentiles/after"],
            "warm/loss_policy": other["loss/policy"],
            "warm/grad_norm": other["grad/norm"],
        }
        ours |= twenty_updates(golden, agent, cold, batch)
    derived = {
        # The encoder's output leaves our model only through the layer that reads it.
        "embed": golden["enc/tokens"] @ golden["param/dyn/obs0/kernel"][reference.DETER :],
        "loss_by_step/world_model": np.sum(
            [SCALES[name] * golden[f"loss_by_step/{name}"] for name in ("rec", "rew", "con", "dyn", "rep")], 0
        ),
    }
    return Case(reference.entries(golden | derived, golden), reference.entries(ours, golden))


def pieces(learner: Learner, state: TrainState, batch: Batch) -> tuple[dict[str, jax.Array], dict[str, Any]]:
    """One update, taken apart: entries by name, and trees and metrics that need the reference's names."""
    model_key, dream_key = jax.random.split(state.key)  # nothing is drawn: the stored numbers stand for all noise
    networks, task, limit = learner.networks, task_behavior(state), learner.loss.symlog_limit
    world_model, params, loss = networks.world_model, state.params["world_model"], learner.loss
    model = world_model_phase(learner, state.params, batch, model_key, train=True)
    prior = world_model.prior_logit(params, model.post.state.deter)
    feat = world_model.feat(model.post.state)
    entries = {
        "post/deter": model.post.state.deter,
        "post/stoch": jnp.argmax(model.post.state.stoch, -1),
        "post/logp": model.post.logit,
        "prior/logp": prior,
        "kl": world_model.kl(model.post.logit, prior),
        "decoded": world_model.decode(params, feat)["vector"],
        "reward_pred": scalar_decode(world_model.reward(params, feat), limit),
        "cont_pred": jax.nn.sigmoid(world_model.cont(params, feat)),
        "embed": world_model.embed(params, batch.obs),
        "loss_by_step/world_model": model.loss_by_step,
    }

    dreamed = dream(learner, params, task.actor, batch, model.post, dream_key)
    rollouts = dreamed.rollouts
    policy = make_policy(learner.spec.action, networks.actor.apply(task.actor, rollouts.feat), None, learner.actor)
    part = policy.parts[0]
    outputs, slow = (networks.critic.apply(x, rollouts.feat) for x in (task.critic, task.slow_critic))
    constants = dict(gamma=loss.gamma, lam=loss.lam)
    returns, value = imagined_returns(outputs, slow, rollouts, slow_target=False, symlog_limit=limit, **constants)
    starts = returns[:, 0].reshape(batch.reward.shape)
    retnorm, scale = return_scale(learner, task.retnorm, returns, axis_name=None)
    entries |= {
        "imag/feat": rollouts.feat,
        "imag/action": rollouts.action if part.probs is None else jnp.argmax(rollouts.action, -1),
        "imag/reward": rollouts.reward,
        # The reference's include the discount, at the start too, where ours is the reference's as it is.
        "imag/cont": rollouts.cont.at[:, 1:].multiply(loss.gamma),
        "imag/value": value,
        "imag/slow_value": scalar_decode(slow, limit),
        "imag/action_logp": rollouts.log_prob,
        "imag/entropy": policy.entropy()[:, :-1],
        "imag/return": returns,
        "imag/weight": step_weights(rollouts.cont[:, :-1], gamma=loss.gamma),
        "imag/advantage": (returns - value[:, :-1]) / scale,
        "replay/return": replay_returns(batch.reward, batch.is_last, batch.is_terminal, starts, **constants),
        "percentiles/after": jnp.stack([retnorm.low, retnorm.high]),
    }
    entries |= {"imag/actor_logp": jnp.log(part.probs)} if part.std is None else {}
    entries |= {"imag/actor_mean": part.mean, "imag/actor_std": part.std} if part.probs is None else {}

    learned = behavior_phase(learner, task, dreamed, batch, model.post, axis_name=None)
    feat_grad = learned.feat_grad if learner.critic.replay_gradient else None
    grads = {"world_model": model.gradient(feat_grad), "actor": learned.actor_grad, "critic": learned.critic_grad}
    stopped = grads | {"world_model": model.gradient(None)}
    return entries, {"grads": grads, "stopped": stopped, "metrics": model.metrics | learned.metrics}


def losses(metrics: dict[str, Any]) -> list[np.ndarray]:
    """In the order of ``LOSSES``, which is that of the golden ``updates/loss_names``."""
    return [np.asarray(metrics[f"train/loss/{name}"], np.float64) for name in LOSSES.values()]


def norms(tensors: Tensors) -> list[np.floating]:
    return [np.linalg.norm(value.astype(np.float64)) for value in tensors.values()]


def one_update(golden: Tensors, entries: dict[str, jax.Array], rest: dict[str, Any]) -> Tensors:
    """What ``pieces`` gives, in the form of the golden file."""
    ours = {name: np.asarray(value) for name, value in entries.items()}
    by_name = dict(zip(LOSSES, losses(rest["metrics"]), strict=True))
    ours |= {f"loss/{name}": value for name, value in by_name.items()}
    ours["loss/total"] = np.asarray(sum(SCALES[name] * value for name, value in by_name.items()))
    grads = reference.to_reference(rest["grads"], parameters(golden))
    ours["grad/norm"] = np.asarray(norms(grads))
    ours["repval_stopped/grad_norm"] = np.asarray(norms(reference.to_reference(rest["stopped"], parameters(golden))))
    return ours | {f"grad/whole/{name}": grads[name] for name in below(golden, "grad/whole/")}


def parameters(golden: Tensors) -> Tensors:
    """The parameters before the first update, in the order of the golden ``names``."""
    return {name: golden[f"param/{name}"] for name in golden["names"]}


def twenty_updates(golden: Tensors, agent: Agent, state: TrainState, batch: Batch) -> Tensors:
    """``agent.update`` on the same batch, again and again, in the form of the golden file."""
    update = jax.jit(agent.update, compiler_options=QUICK)
    before = parameters(golden)
    slow_like = {f"val/{name}": golden[f"slow/{name}"] for name in golden["updates/slow_names"]}
    rows: dict[str, list[Any]] = {
        name: [] for name in ("loss", "percentiles", "param_norm", "change_norm", "slow_norm")
    }
    for count in range(1, 21):
        state, metrics, _ = update(state, batch)
        rows["loss"].append(losses(metrics))
        rows["percentiles"].append([state.retnorm.low, state.retnorm.high])
        if count in golden["updates/count"]:
            after = reference.to_reference(state.params, before)
            rows["param_norm"].append(norms(after))
            rows["change_norm"].append(norms({name: after[name] - before[name] for name in before}))
            rows["slow_norm"].append(norms(reference.to_reference({"critic": state.slow_critic}, slow_like)))
    return {f"updates/{name}": np.asarray(values) for name, values in rows.items()}
