"""Every switch of the algorithm changes what it should and nothing else.

One row for each field: what differs between two configurations that differ in it alone. The names are outputs, compared
by how they are computed (``fingerprints``): nothing is compiled or run, and every name that a row does not list must be
computed exactly as before. A view says whose outputs:

- "init": shapes of the parameters, by part of the world model and by network, and of the ring; "start": their values;
- "model": the update of the world model; "behavior": that of actor and critic; both are what the whole update does;
  "exploring": that of actor and critic and of the explorer's;
- "optimizer": one step of each group's optimizer;
- "acting": what a policy does while collecting (a draw) and in evaluations (greedy);
- "replay": which windows are drawn from which steps; "schedule": which updates are owed when.

What a whole family of fields must leave alone is shown for the family at once, at the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax import config as config_lib
from dreamjax.agents.agent import Agent, dummy_batch, make_agent
from dreamjax.algorithms.update import make_optimizers
from dreamjax.config import Config
from dreamjax.training.collection.acting import make_acting
from dreamjax.training.runtime.background_compiler import BackgroundCompiler
from dreamjax.training.schedule import make_schedule
from dreamjax.training.storage import recording
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec, Records, RSSMState
from tests.helpers.batches import make_tiny_spec
from tests.helpers.configs import make_tiny_config, vary
from tests.helpers.fingerprints import fingerprints

ACTIONS = ActionSpec((ActionPart("categorical", 3), ActionPart("binary", 2), ActionPart("continuous", 1)))
BOARD = make_tiny_spec()
SPECS = {
    "vector": EnvSpec({"vector": ObsSpec("vector", (3,), "float32")}, ACTIONS),
    "board": BOARD,
    "cells": EnvSpec(BOARD.obs, ActionSpec((ActionPart("categorical", 24),))),
    "image": EnvSpec({"image": ObsSpec("image", (8, 8, 1), "uint8")}, ACTIONS),
    "larger image": EnvSpec({"image": ObsSpec("image", (48, 48, 1), "uint8")}, ACTIONS),
}

ALL = frozenset({"*"})
# Parts of the world model, and everything that reads its features.
HEADS = {"decoder", "reward_head", "cont_head"}
NETS = {"actor", "critic"}
FEATURES = {"rssm", *HEADS, *NETS}
# What follows from another world-model loss, another actor loss, another critic loss, other returns, other dreams.
MODEL = {"world_model", "train/grad_norm/world_model", "train/world_model_loss", "priority"}
ACTOR = {"actor", "train/grad_norm/actor", "train/loss/actor"}
CRITIC = {"critic", "slow_critic", "train/grad_norm/critic", "train/loss/critic"}
REPLAYED = {"train/loss/critic_replay", "priority"}
SCALE = {*ACTOR, "imagination/return_scale", "imagination/advantage_size"}
RETURNS = {*SCALE, *CRITIC, *REPLAYED, "retnorm", "imagination/return"}
DREAMS = {*RETURNS, "imagination/reward", "imagination/cont", "imagination/value", "train/actor_entropy"}
# By how they are computed: returns read the weights' array, but not its first column.
STARTS = DREAMS - {"imagination/reward", "imagination/value", "train/actor_entropy"}
GROUPS = {"world_model", "actor", "critic"}
# The explorer: parameters of its own and what it keeps; what follows from its rewards.
EXPLORER = {"explorer_actor", "explorer_critic", "explorer"}
EXPLORER_TOLD = {
    f"explorer/{name}"
    for name in (
        "loss/actor", "loss/critic", "loss/critic_replay", "actor_entropy", "advantage_size", "return", "reward", "cont",
        "value", "return_scale", "disagreement",
    )
} | {"train/grad_norm/explorer_actor", "train/grad_norm/explorer_critic"}  # fmt: skip
EXPLORER_PAID = (EXPLORER | EXPLORER_TOLD) - {
    f"explorer/{name}" for name in ("actor_entropy", "cont", "value", "disagreement")
}
ACTING = {"collecting", "evaluating"}

RING = {"imagination": {"use_ring": True, "capacity": 60}}
GAUSSIAN = {"model": {"latent": "gaussian"}}
GRID = {"model": {"kind": "grid"}}
ADAM = {"optimizer": {"kind": "adam"}}
PRIORITIZED = {"replay": {"sampler": "prioritized"}}
ENSEMBLE = {"ensemble": {"size": 3, "units": 16}}
EXPLORE = {"ensemble": {"size": 3, "units": 16}, "explore": {"steps": 100}}
PLAN = {"schedule": {"kind": "plan"}}
PLANNER = {
    "planner": {"collect": True, "evaluate": True, "num_simulations": 4, "actions": 4, "max_num_considered_actions": 4}
}
ONE_STEP = config_lib.merge(PLANNER, {"planner": {"method": "one_step"}})
PIECEWISE = config_lib.merge(PLANNER, {"planner": {"method": "piecewise", "horizon": 2, "candidates": 4}})
CEM = config_lib.merge(PLANNER, {"planner": {"method": "cem", "horizon": 2, "candidates": 4, "elites": 2}})


class Row(NamedTuple):
    """``name`` set to ``value`` over ``base`` changes exactly ``differs`` of ``view``."""

    name: str
    value: Any
    view: str
    differs: set[str] | frozenset[str]
    base: dict[str, Any] | None = None
    spec: str = "vector"


ROWS = [
    # The world model's sizes: who has other parameters.
    Row("model.kind", "grid", "init", ALL, spec="board"),
    Row("model.edit_radius", 1, "init", {"edit"}, GRID, "cells"),
    Row("model.latent", "gaussian", "init", FEATURES),
    Row("model.cell", "gru", "init", {"rssm"}),
    Row("model.deter", 32, "init", FEATURES),
    Row("model.blocks", 4, "init", {"rssm"}),
    Row("model.stoch", 6, "init", FEATURES),
    Row("model.classes", 6, "init", FEATURES),
    Row("model.hidden", 24, "init", {"rssm"}),
    Row("model.units", 24, "init", {"encoder", "rssm", *HEADS}),
    Row("model.layers", 2, "init", {"encoder", "decoder"}),
    Row("model.head_layers", 2, "init", {"reward_head", "cont_head"}),
    Row("model.prior_layers", 2, "init", {"rssm"}),
    Row("model.posterior_layers", 2, "init", {"rssm"}),
    Row("model.grid_encoder", "conv", "init", {"encoder"}, spec="board"),
    Row("model.image_conv", "pooled", "init", {"encoder", "decoder"}, spec="larger image"),
    Row("model.image_conv", "pooled", "init", set()),
    Row("model.conv_depth", 3, "init", {"encoder", "rssm", "decoder"}, spec="image"),
    Row("model.norm", "rms", "init", {"encoder", *FEATURES}),
    Row("model.reward_head", "mse", "init", {"reward_head"}),
    Row("model.bins", 17, "init", {"reward_head"}),
    # Its other constants: every number of the model's update is another.
    Row("model.unimix", 0.2, "model", ALL),
    Row("model.min_std", 0.2, "model", ALL, GAUSSIAN),
    Row("model.act", "relu", "model", ALL),
    Row("model.symlog", False, "model", ALL),
    # Scales of its losses reach the sum and its gradient, not the losses themselves.
    Row("loss.dyn", 2.0, "model", MODEL),
    Row("loss.rep", 2.0, "model", MODEL),
    Row("loss.rec", 2.0, "model", MODEL),
    Row("loss.reward", 2.0, "model", MODEL),
    Row("loss.cont", 2.0, "model", MODEL),
    Row("loss.free_nats", 2.0, "model", {*MODEL, "train/loss/dyn", "train/loss/rep"}),
    Row("loss.symlog_limit", 8.0, "model", {*MODEL, "train/loss/reward", "train/reward_error"}),
    Row("loss.symlog_limit", 8.0, "behavior", {*DREAMS} - {"imagination/cont", "train/actor_entropy"}),
    # The discount: in the continue target and divided out of dreams, or in returns alone.
    Row("loss.gamma", 0.9, "model", {*MODEL, "train/loss/cont"}),
    Row("loss.gamma", 0.9, "model", set(), {"loss": {"cont_discount": False}}),
    Row("loss.gamma", 0.9, "behavior", {*RETURNS, "imagination/cont"}),
    Row("loss.gamma", 0.9, "behavior", RETURNS, {"loss": {"cont_discount": False}}),
    Row("loss.cont_discount", False, "model", {*MODEL, "train/loss/cont"}),
    Row("loss.cont_discount", False, "behavior", {*RETURNS, "imagination/cont"}),
    Row("loss.lam", 0.5, "behavior", RETURNS),
    Row("loss.return_norm", "none", "behavior", SCALE),
    Row("loss.return_norm_rate", 0.5, "behavior", {*SCALE, "retnorm"}),
    Row("loss.return_norm_limit", 2.0, "behavior", SCALE),
    Row("loss.return_norm_debias", False, "behavior", SCALE),
    # Actor and critic.
    Row("actor.layers", 2, "init", {"actor"}),
    Row("actor.units", 24, "init", {"actor"}),
    Row("actor.output_scale", 1.0, "start", {"actor"}),
    Row("actor.entropy", 0.1, "behavior", ACTOR),
    Row("actor.unimix", 0.2, "behavior", DREAMS),
    Row("actor.min_std", 0.2, "behavior", DREAMS),
    Row("actor.max_std", 2.0, "behavior", DREAMS),
    Row("actor.binary_bias", (0.0, -1.0), "behavior", DREAMS),
    Row("critic.layers", 2, "init", {"critic"}),
    Row("critic.units", 24, "init", {"critic"}),
    Row("critic.head", "mse", "init", {"critic"}),
    Row("critic.bins", 17, "init", {"critic"}),
    Row("critic.slow_rate", 0.5, "behavior", {"slow_critic"}),
    Row("critic.slow_target", True, "behavior", {*RETURNS, "imagination/value"}),
    Row("critic.slow_regularizer", 0.5, "behavior", {*CRITIC, "train/loss/critic_replay"}),
    Row("critic.replay_gradient", True, "behavior", {*CRITIC, *REPLAYED} - {"train/loss/critic"}),
    Row("critic.replay_scale", 0.5, "behavior", CRITIC - {"train/loss/critic"}),
    Row("critic.replay_scale", 0.0, "behavior", {*CRITIC, "train/loss/critic_replay"} - {"train/loss/critic"}),
    # Optimizers: all groups, but for the rates.
    Row("optimizer.world_model_lr", 1e-3, "optimizer", {"world_model"}),
    Row("optimizer.actor_lr", 1e-3, "optimizer", {"actor"}),
    Row("optimizer.critic_lr", 1e-3, "optimizer", {"critic"}),
    Row("optimizer.kind", "adam", "optimizer", GROUPS),
    Row("optimizer.eps", 1e-3, "optimizer", GROUPS),
    Row("optimizer.eps", 1e-3, "optimizer", GROUPS, ADAM),
    Row("optimizer.beta1", 0.5, "optimizer", GROUPS),
    Row("optimizer.beta2", 0.5, "optimizer", GROUPS),
    Row("optimizer.agc", 0.0, "optimizer", GROUPS),
    Row("optimizer.clip", 1.0, "optimizer", GROUPS),
    Row("optimizer.warmup", 0, "optimizer", GROUPS),
    Row("optimizer.actor_delay", 3, "optimizer", {"actor"}),
    # Micro-batches: the same sums in another order (test_update.py: equal results). Draws are by row: latents too.
    Row("optimizer.accumulate", 2, "model", ALL),
    Row("optimizer.skip_nonfinite", 3, "model", set()),
    # Where dreams begin, and what is learned from.
    Row("imagination.last", 2, "behavior", DREAMS),
    Row("imagination.start_cont", "predicted", "behavior", STARTS),
    Row("imagination.use_ring", True, "behavior", {*DREAMS, "ring"}, {"imagination": {"capacity": 60}}),
    Row("imagination.use_ring", True, "init", {"ring"}),
    Row("imagination.capacity", 80, "init", {"ring"}, RING),
    # The ensemble: beside everything else; the explorer is paid by it.
    Row("ensemble.size", 3, "init", {"ensemble"}),
    Row("ensemble.size", 3, "start", {"ensemble"}),
    Row("ensemble.size", 3, "model", {"ensemble", "train/loss/ensemble", "train/grad_norm/ensemble"}),
    Row("ensemble.size", 3, "behavior", {"imagination/disagreement"}),
    Row("ensemble.layers", 1, "init", {"ensemble"}, ENSEMBLE),
    Row("ensemble.units", 8, "init", {"ensemble"}, ENSEMBLE),
    Row("ensemble.lr", 1e-3, "optimizer", {"ensemble"}, ENSEMBLE),
    # The explorer: beside everything else, in a phase of its own.
    Row("explore.steps", 100, "init", {"explorer_actor", "explorer_critic"}, ENSEMBLE),
    Row("explore.steps", 100, "start", {"explorer_actor", "explorer_critic"}, ENSEMBLE),
    Row("explore.steps", 100, "optimizer", {"explorer_actor", "explorer_critic"}, ENSEMBLE),
    Row("explore.steps", 100, "model", set(), ENSEMBLE),
    Row("explore.steps", 100, "behavior", set(), ENSEMBLE),
    Row("explore.steps", 100, "exploring", EXPLORER | EXPLORER_TOLD, ENSEMBLE),
    Row("explore.steps", 100, "schedule", {"phases", "counts", "windows"}, ENSEMBLE),
    Row("explore.intrinsic", 0.5, "exploring", EXPLORER_PAID, EXPLORE),
    Row("explore.extrinsic", 0.5, "exploring", EXPLORER_PAID, EXPLORE),
    Row("ensemble.rate", 0.5, "exploring", EXPLORER_PAID, EXPLORE),
    # Planning: other actions.
    Row("planner.collect", True, "acting", {"collecting"}, spec="board"),
    Row("planner.evaluate", True, "acting", {"evaluating"}, spec="board"),
    Row("planner.method", "cem", "acting", ACTING, PLANNER, "board"),
    Row("planner.num_simulations", 3, "acting", ACTING, PLANNER, "board"),
    Row("planner.depth", 1, "acting", ACTING, PLANNER, "board"),
    Row("planner.actions", 3, "acting", ACTING, PLANNER, "board"),
    Row("planner.max_num_considered_actions", 2, "acting", ACTING, PLANNER, "board"),
    Row("planner.value_scale", 0.2, "acting", ACTING, PLANNER, "board"),
    Row("planner.maxvisit_init", 20.0, "acting", ACTING, PLANNER, "board"),
    Row("planner.horizon", 3, "acting", ACTING, CEM, "board"),
    Row("planner.horizon", 3, "acting", set(), PLANNER, "board"),
    Row("planner.candidates", 5, "acting", ACTING, CEM, "board"),
    Row("planner.method", "piecewise", "acting", ACTING, CEM, "board"),
    Row("planner.horizon", 3, "acting", ACTING, PIECEWISE, "board"),
    Row("planner.candidates", 5, "acting", ACTING, PIECEWISE, "board"),
    Row("planner.iterations", 3, "acting", set(), PIECEWISE, "board"),
    Row("planner.iterations", 3, "acting", ACTING, CEM, "board"),
    Row("planner.policy_share", 0.5, "acting", ACTING, CEM, "board"),
    Row("planner.elites", 3, "acting", ACTING, CEM, "board"),
    Row("planner.method", "one_step", "acting", ACTING, PLANNER, "board"),
    Row("planner.actions", 3, "acting", ACTING, ONE_STEP, "board"),
    Row("planner.bootstrap", 0.0, "acting", ACTING, ONE_STEP, "board"),
    Row("planner.bootstrap", 0.0, "acting", set(), PLANNER, "board"),
    Row("planner.act_temperature", 0.5, "acting", ACTING, ONE_STEP, "board"),
    Row("planner.act_temperature", 0.5, "acting", set(), PLANNER, "board"),
    Row("planner.method", "cem", "behavior", set(), PLANNER, "board"),
    # Replay: stored and drawn windows, by the steps they came from.
    Row("replay.capacity", 40, "replay", {"stored", "drawn"}),
    Row("replay.min_size", 20, "schedule", {"when"}),
    Row("replay.min_windows", 30, "schedule", {"counts", "when"}),
    Row("replay.sampler", "prioritized", "replay", {"drawn"}),
    Row("replay.online", 0.5, "replay", {"drawn"}),
    Row("replay.uniform_fraction", 0.5, "replay", {"drawn"}, PRIORITIZED),
    Row("replay.uniform_fraction", 0.5, "model", set(), PRIORITIZED),
    Row("replay.priority_exponent", 0.1, "replay", {"drawn"}, PRIORITIZED),
    Row("replay.priority_exponent", 0.1, "replay", set()),
    Row("replay.keep_latents", True, "replay", {"context"}),
    # Schedules: which updates, how many, on how many windows, when.
    Row("schedule.kind", "plan", "schedule", {"phases", "counts", "windows", "when"}),
    Row("schedule.collect_steps", 20, "schedule", {"when"}, PLAN),
    Row("schedule.world_model_batches", 3, "schedule", {"counts"}, PLAN),
    Row("schedule.actor_critic_batches", 3, "schedule", {"counts"}, PLAN),
    Row("schedule.imagination_batch_size", 4, "schedule", {"windows"}, PLAN),
    Row("schedule.collect_steps", 20, "schedule", set()),
    # Which updates are owed, and what one computes, is as it was: how many of them one call makes is another.
    Row("schedule.updates_per_call", 2, "schedule", set()),
    Row("schedule.updates_per_call", 2, "model", set()),
    # Nor when they are owed: the trainer asks less often.
    Row("schedule.steps_per_call", 2, "schedule", set()),
    Row("schedule.steps_per_call", 2, "acting", set()),
]  # fmt: skip

CLASSES = (
    "model",
    "actor",
    "critic",
    "loss",
    "optimizer",
    "imagination",
    "ensemble",
    "explore",
    "planner",
    "replay",
    "schedule",
)


def test_every_field_has_a_row() -> None:
    fields = {f"{name}.{f.name}" for name in CLASSES for f in dataclasses.fields(getattr(Config(), name))}
    assert {row.name for row in ROWS} == fields


def make_config(*layers: dict[str, Any]) -> Config:
    base = make_tiny_config(
        batch_size=2,
        batch_length=3,
        horizon=2,
        model={"norm": "none", "symlog": True},
        schedule={
            "world_model_batches": 2,
            "actor_critic_batches": 2,
            "imagination_batch_size": 2,
            "collect_steps": 16,
        },
    )
    return vary(base, **config_lib.merge(*layers))


def nested(name: str, value: Any) -> dict[str, Any]:
    group, field = name.split(".")
    return {group: {field: value}}


def gather(leaves: dict[str, int], named: Any) -> dict[str, int]:
    """Joins leaves that have one name: ``named(path)`` or None to leave one out."""
    groups: dict[str, list[int]] = {}
    for path, value in leaves.items():
        if (name := named(path)) is not None:
            groups.setdefault(name, []).append(value)
    return {name: hash(tuple(values)) for name, values in groups.items()}


def update_name(path: str) -> str | None:
    """Names of what an update returns: a group's parameters with its optimizer, a metric, a field."""
    if path.startswith("[1]"):
        return path[5:-2]  # [1]['metric']
    for kind in ("params", "opt_state"):
        if path.startswith(f"[0].{kind}['"):
            return path.split("'")[1]
    name = path.split(".")[1].split("[")[0]
    return None if name in ("step", "key") else name


def init_name(path: str) -> str | None:
    """Names of what is fresh: part of the world model, actor, critic, ring; the rest follows from them."""
    if path.startswith(".params['"):
        group, *rest = path.split("'")[1::2]
        return rest[0] if group == "world_model" else group
    return "ring" if path.startswith(".ring") else None


@functools.cache
def outputs(text: str, name: str, view: str) -> dict[str, Any]:
    config = config_lib.from_dict(json.loads(text))
    if view == "replay":
        return replay_outputs(config)
    if view == "schedule":
        return schedule_outputs(config)
    if view == "optimizer":
        return optimizer_outputs(config)
    spec = SPECS[name]
    agent = make_agent(config, spec)
    if view == "init":
        shapes = jax.tree_util.tree_leaves_with_path(jax.eval_shape(agent.init, jax.random.key(0)))
        return gather({jax.tree_util.keystr(path): hash((str(path), x.shape)) for path, x in shapes}, init_name)
    if view == "start":
        return gather(fingerprints(agent.init, jax.random.key(0)), init_name)
    if view == "acting":
        return acting_outputs(config, name, agent)
    phases, other = {
        "model": (
            ("world_model",),
            {"actor", "critic", "slow_critic", "retnorm", "ring", *EXPLORER},
        ),
        "behavior": (("actor_critic",), {"world_model", "ensemble", *EXPLORER}),
        "exploring": (("actor_critic", "explorer"), {"world_model", "ensemble"}),
    }[view]
    if not config.explore.steps:
        phases = tuple(phase for phase in phases if phase != "explorer")
    state = shapes_of_state(config, name)
    batch = jax.eval_shape(lambda: dummy_batch(spec, config.batch_size, config.batch_length))
    marked = mock.patch.object(jax, "vjp", marked_vjp)
    with marked if view == "model" else contextlib.nullcontext():
        named = gather(fingerprints(functools.partial(agent.update, phases=phases), state, batch), update_name)
    # What a phase passes on as it came is not its output (test_update.py holds that it is as it came).
    return {name: value for name, value in named.items() if name not in other}


def shapes_of_state(config: Config, name: str) -> Any:
    """Of a fresh state, which does not depend on these groups of fields (were it otherwise, updates would refuse it)."""
    base = make_config()
    others = {group: getattr(base, group) for group in ("loss", "planner", "replay", "schedule")}
    return _shapes_of_state(json.dumps(dataclasses.asdict(dataclasses.replace(config, **others))), name)


@functools.cache
def _shapes_of_state(text: str, name: str) -> Any:
    agent = make_agent(config_lib.from_dict(json.loads(text)), SPECS[name])
    return jax.eval_shape(agent.init, jax.random.key(0))


def marked_vjp(fn: Callable[..., Any], params: Any, *, has_aux: bool) -> tuple[Any, Callable[..., Any], Any]:
    """In place of the world model's gradient, something shaped like it that depends on its loss and features: tracing
    takes half the time."""
    assert has_aux
    (loss, feat), rest = fn(params)

    def gradient(grads: tuple[jax.Array, jax.Array]) -> tuple[Any]:
        told = loss * grads[0] + jnp.sum(feat * grads[1])
        return (jax.tree.map(lambda x: x * told, params),)

    return (loss, feat), gradient, rest


def optimizer_outputs(config: Config) -> dict[str, int]:
    params = {"w": jax.ShapeDtypeStruct((2, 3), jnp.float32)}
    optimizers = make_optimizers(config.optimizer, config.ensemble, config.explore)
    states = {name: jax.eval_shape(optimizer.init, params) for name, optimizer in optimizers.items()}
    step = lambda states, grads: {
        name: optimizers[name].update(grads, states[name], grads)[0] for name in optimizers
    }  # fmt: skip
    return gather(fingerprints(step, states, params), lambda path: path.split("'")[1])


def acting_outputs(config: Config, name: str, agent: Agent) -> dict[str, int]:
    params = shapes_of_state(config, name).params
    obs = jax.eval_shape(lambda: dummy_batch(agent.spec, 2, 1)).obs
    obs = {name: jax.ShapeDtypeStruct((2, *x.shape[2:]), x.dtype) for name, x in obs.items()}
    carry = jax.eval_shape(lambda: agent.initial_carry(2))
    args = params, carry, obs, jax.ShapeDtypeStruct((2,), bool), jax.random.key(0), np.uint32(0)
    names = {}
    acting = make_acting(agent, config, None, params, BackgroundCompiler(False))
    for name, policy, greedy in (("collecting", acting.collect, False), ("evaluating", acting.evaluate, True)):
        prints = fingerprints(functools.partial(policy.act, greedy=greedy), *args)
        names[name] = prints["[1]"]  # the action record
    return names


def replay_outputs(config: Config) -> dict[str, Any]:
    """Two streams of 31 steps whose reward is their number; priorities and latents fed back; 40 windows drawn."""
    spec = EnvSpec({"x": ObsSpec("vector", (1,), "float32")}, ActionSpec((ActionPart("categorical", 2),)))
    initial = lambda n: RSSMState(deter=jnp.zeros((n, 2)), stoch=jnp.zeros((n, 2, 2)))
    latents = recording.latent_spec(recording.kept_latents(config.replay, SimpleNamespace(initial=initial)))
    buffer = recording.make_replay(config.replay, spec, num_envs=config.num_envs, seed=config.seed, latents=latents)
    no = np.zeros(2, bool)
    for t in range(31):
        obs, reward = {"x": np.zeros((2, 1), np.float32)}, np.array([t, 100 + t], np.float32)
        latents = RSSMState(deter=np.ones((2, 2), np.float32), stoch=np.ones((2, 2, 2), np.float32))
        records = Records(np.arange(2, dtype=np.int32), obs, reward, no, no, no, {})
        buffer.add(records, np.zeros((2, 1), np.int32), latents)
    drawn, context = [], []
    for _ in range(10):
        batch, indices = buffer.sample(4, 3)
        drawn.append(np.asarray(batch.reward))
        context.append(batch.context is None)
        buffer.update(indices, priority=np.square(batch.reward) + 1)
    outs = {"stored": len(buffer), "drawn": np.stack(drawn), "context": context}
    return {name: hash(np.asarray(value).tobytes()) for name, value in outs.items()}


def schedule_outputs(config: Config) -> dict[str, Any]:
    schedule, phases, counts, windows, when = make_schedule(config), set(), set(), set(), []
    for step in range(0, 200, 2):
        due = schedule.pending(step)
        schedule.mark_done(due)
        phases |= {item.phases for item in due}
        counts |= {(item.phases, item.count) for item in due}
        windows |= {(item.phases, item.batch_size) for item in due}
        when += [step] if due else []
    return {"phases": phases, "counts": counts, "windows": windows, "when": when}


def difference(view: str, spec: str, left: dict[str, Any], right: dict[str, Any]) -> tuple[set[str], set[str]]:
    """Names that differ (or that one has alone), and all names."""
    a, b = (outputs(json.dumps(dataclasses.asdict(make_config(x))), spec, view) for x in (left, right))
    return {name for name in a | b if a.get(name) != b.get(name)}, set(a | b)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}={row.value}-{row.view}")
def test_switch(row: Row) -> None:
    base = row.base or {}
    differs, names = difference(row.view, row.spec, base, config_lib.merge(base, nested(row.name, row.value)))
    assert differs == (names if row.differs == ALL else row.differs)


def changed(*names: str) -> dict[str, Any]:
    """All fields of the rows whose names begin so, each set to the value of its first row."""
    values = {row.name: row.value for row in reversed(ROWS) if row.name.startswith(names)}
    return config_lib.merge(*(nested(name, value) for name, value in values.items()))


def test_constants_leave_fresh_parameters_as_they_are() -> None:
    names = ("model.unimix", "model.min_std", "model.act", "model.symlog", "actor.unimix", "actor.binary_bias", "loss")
    assert difference("start", "vector", {}, changed(*names, "optimizer", "critic.s", "critic.r"))[0] == set()


def test_what_is_the_behaviors_leaves_the_models_update_alone() -> None:
    others = changed("actor", "critic", "imagination", "replay", "schedule", "loss.lam", "loss.return_norm")
    others["replay"].pop("uniform_fraction")  # does not go with replay.online
    assert difference("model", "vector", {}, others)[0] == set()


def test_what_is_the_models_leaves_the_behaviors_update_alone() -> None:
    """But for priorities, which are the model's loss and the value's error."""
    scales = ("loss.dyn", "loss.rep", "loss.rec", "loss.reward", "loss.cont", "loss.free_nats", "replay", "schedule")
    others = changed(*scales)
    others["loss"].pop("cont_discount")
    others["replay"].pop("uniform_fraction")
    assert difference("behavior", "vector", {}, others)[0] == {"priority"}


def test_an_even_share_is_all_that_behaviors_learn_from() -> None:
    even = config_lib.merge(PRIORITIZED, nested("replay.uniform_fraction", 0.5))
    differs, names = difference("behavior", "vector", PRIORITIZED, even)
    assert names - differs == {"latents"}


def test_optimizers_move_parameters_alone() -> None:
    others = changed("optimizer")
    others["optimizer"].pop("accumulate")
    assert difference("model", "vector", {}, others)[0] == {"world_model"}
    assert difference("behavior", "vector", {}, others)[0] == {"actor", "critic", "slow_critic"}


def test_a_fingerprint_is_of_one_outputs_own_computation() -> None:
    """Inside calls and scans, of carries of later rounds, whatever else is computed beside it."""

    def fn(x: jax.Array, *, a: float, b: float) -> tuple[jax.Array, ...]:
        def step(carry: tuple[jax.Array, ...], _: None) -> tuple[tuple[jax.Array, ...], jax.Array]:
            first, second, third = carry
            return (first * a, second + first, third * b), third

        (first, second, third), seen = jax.lax.scan(step, (x, x, x), None, 3)
        return first, second, third, seen, jax.jit(lambda y: y * b)(x)

    prints = [
        list(fingerprints(functools.partial(fn, a=a, b=b), jnp.ones(())).values())
        for a, b in ((1.5, 2.5), (1.5, 2.5), (3.5, 2.5), (1.5, 3.5))
    ]
    assert prints[0] == prints[1]
    assert [left == right for left, right in zip(prints[0], prints[2], strict=True)] == [False, False, True, True, True]
    assert [left == right for left, right in zip(prints[0], prints[3], strict=True)] == [
        True,
        True,
        False,
        False,
        False,
    ]
