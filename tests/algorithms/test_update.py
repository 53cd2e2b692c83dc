"""One update, whose numbers test_plain_update.py holds: several in a call, phases, accumulation, devices, precision."""

import dataclasses
import functools
import operator

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from dreamjax.agents.agent import make_agent
from dreamjax.algorithms.update import fast, init_state
from dreamjax.algorithms.update.behavior import behavior_phase, dream, last_steps, start_continuation
from dreamjax.algorithms.update.state import task_behavior
from dreamjax.algorithms.update.world_model import behavior_windows, of_all_windows, world_model_phase
from dreamjax.algorithms.world_model_loss import world_model_loss
from dreamjax.training.runtime import memory
from dreamjax.training.updates import scan_updates
from tests.helpers.batches import along, random_batch
from tests.helpers.configs import vary
from tests.helpers.jaxprs import matrix_products
from tests.helpers.xla import QUICK


def leaves(tree):
    return jax.tree_util.tree_leaves_with_path(tree)


def assert_close(left, right, *, rtol=2e-3, atol=2e-5):
    """Two trees alike, up to the order of sums; typed keys are compared as data."""
    data = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    for (path, a), (_, b) in zip(leaves(left), leaves(right), strict=True):
        np.testing.assert_allclose(data(a), data(b), rtol, atol, err_msg=jax.tree_util.keystr(path))


def changed(before, after):
    return any(not np.array_equal(a, b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))


def test_last_steps():
    x = np.arange(6).reshape(2, 3, 1)
    np.testing.assert_array_equal(last_steps(x, 2).ravel(), [1, 2, 4, 5])
    np.testing.assert_array_equal(last_steps(x, 0).ravel(), np.arange(6))


# Several updates.


def test_several_updates_in_one_call_are_single_ones_bit_for_bit(learner):
    x = learner("plain")
    batches = [x.batch, random_batch(x.spec, seed=1)]
    state, single = x.state(), []
    for batch in batches:
        state, *given = x.update(state, batch)
        single.append(given)
    both = jax.jit(scan_updates(x.agent.update), compiler_options=QUICK)
    after, metrics, outs = both(x.state(), jax.tree.map(lambda *parts: np.stack(parts), *batches))
    chex.assert_trees_all_equal(after, state)
    for i, given in enumerate(single):
        chex.assert_trees_all_equal(jax.tree.map(lambda x: x[i], [metrics, outs]), given)  # noqa: B023


# Phases.


def test_phases_alone_leave_the_others_parameters_and_agree_with_both(learner):
    """Contract 20 and 26: gradients of both phases are taken at the same parameters, so phases alone give the same new
    parameters; what a phase does not train stays as it is, the slow critic and the return scale included."""
    x = learner("plain")
    before = x.state()
    both, model, behavior = (
        fn(x.state(), x.batch)[0] for fn in (x.update, x.update_world_model, x.update_actor_critic)
    )
    moved = lambda after: {name for name in before.params if changed(before.params[name], after.params[name])}
    assert moved(both) == {"world_model", "actor", "critic"}
    assert moved(model) == {"world_model"}
    assert moved(behavior) == {"actor", "critic"}
    assert_close(model.params["world_model"], both.params["world_model"])
    for name in ("actor", "critic"):
        assert_close(behavior.params[name], both.params[name])
    for name in ("slow_critic", "retnorm"):
        assert not changed(getattr(before, name), getattr(model, name))
        assert_close(getattr(behavior, name), getattr(both, name))
    assert not changed(before.opt_state["world_model"], behavior.opt_state["world_model"])
    assert [int(s.step) for s in (both, model, behavior)] == [8, 8, 8]
    assert jnp.all(jax.random.key_data(both.key) == jax.random.key_data(before.key))


def test_behaviors_learn_from_the_evenly_drawn_windows_alone(learner):
    """Windows 1 and 3 of four; the model learns from all, and what is surprising in them is its loss alone."""
    x = learner("even")
    np.testing.assert_array_equal(x.config.replay.uniform_rows(4), [1, 3])
    other = random_batch(x.spec, seed=5)
    mixed = lambda rows: jax.tree.map(lambda a, b: np.where(along(a, rows), b, a), x.batch, other)
    (plain, _, outs), (surprising, _, _), (evenly, _, _) = (
        x.update(x.state(), batch) for batch in (x.batch, mixed([0, 2]), mixed([3]))
    )
    for name in ("actor", "critic"):
        assert not changed(plain.params[name], surprising.params[name])
        assert changed(plain.params[name], evenly.params[name])
    assert changed(plain.params["world_model"], surprising.params["world_model"])
    _, _, of_the_model = x.update_world_model(x.state(), x.batch)
    assert_close(outs, of_the_model)


def test_values_of_replayed_steps_teach_the_world_model_where_configured(learner):
    """Contract 20: by the steps that have a target in the evenly drawn windows, and by those alone. Actor and critic learn
    the same."""
    x, without = learner("replayed"), learner("even")
    (state, _, _), (other, _, _) = x.update(x.state(), x.batch), without.update(x.state(), x.batch)
    assert_close(state.replace(params={}, opt_state={}), other.replace(params={}, opt_state={}))
    for name in ("actor", "critic"):
        assert_close(state.params[name], other.params[name])
    model, unmoved = state.params["world_model"], other.params["world_model"]
    difference = traverse_util.flatten_dict(jax.tree.map(lambda a, b: np.max(np.abs(a - b)), model, unmoved), sep="/")
    moved = {name for name, value in difference.items() if value > 1e-6}
    assert moved == {name for name in difference if name.startswith(("encoder", "rssm/cell", "rssm/post"))}

    @functools.partial(jax.jit, compiler_options=QUICK)
    def feat_grad(state, batch):
        model = world_model_phase(x.learner, state.params, batch, jax.random.key(0), train=False)
        windows, post = behavior_windows(x.learner.replay, batch, model.post)
        task = task_behavior(state)
        dreamed = dream(x.learner, state.params["world_model"], task.actor, windows, post, jax.random.key(1))
        learned = behavior_phase(x.learner, task, dreamed, windows, post, axis_name=None)
        return of_all_windows(x.learner.replay, learned.feat_grad, len(batch.reward))

    length = x.batch.reward.shape[1]
    has_target = ~np.asarray(x.batch.is_last)
    has_target[[0, 2]] = has_target[:, : length - 4] = has_target[:, -1] = False
    reached = np.any(feat_grad(x.state(), x.batch) != 0, -1)
    np.testing.assert_array_equal(reached, has_target)


def test_what_weighs_the_first_step_of_a_rollout(learner):
    """Contract 18: the truth, or the prediction as the head has it, its discount of 0.9 included."""
    plain = learner("plain").learner
    predicted, ended = np.float32([0.5, 1.1]), np.array([True, False])
    weights = {}
    for choice in ("true", "predicted"):
        for discount in (False, True):
            loss = dataclasses.replace(plain.loss, gamma=0.9, cont_discount=discount)
            imagination = dataclasses.replace(plain.imagination, start_cont=choice)
            varied = plain._replace(loss=loss, imagination=imagination)
            weights[choice, discount] = start_continuation(varied, predicted, ended).tolist()
    assert weights["true", True] == weights["true", False] == [0, 1]
    np.testing.assert_allclose(weights["predicted", True], [0.45, 0.99], rtol=1e-6)
    np.testing.assert_allclose(weights["predicted", False], predicted)


def test_the_slow_critic_follows_by_its_rate(learner):
    """Contract 26: (1 - rate) slow + rate critic, of the slow critic that the state brought; never a copy."""
    x = learner("plain")
    before = x.state()
    after = x.update(before, x.batch)[0]
    rate = x.config.critic.slow_rate
    expected = jax.tree.map(lambda s, c: (1 - rate) * s + rate * c, before.slow_critic, after.params["critic"])
    assert_close(after.slow_critic, expected, rtol=1e-5)


def test_a_fresh_state(learner):
    """The slow critic begins as a copy of the critic in memory of its own (the state is donated); groups differ."""
    x = learner("plain")
    empty = x.networks._replace(world_model=x.networks.world_model._replace(init=lambda key: {}))
    state = init_state(x.learner._replace(networks=empty), jax.random.key(0))
    for slow, own in zip(jax.tree.leaves(state.slow_critic), jax.tree.leaves(state.params["critic"]), strict=True):
        np.testing.assert_array_equal(slow, own)
        assert slow.unsafe_buffer_pointer() != own.unsafe_buffer_pointer()
    assert (int(state.step), int(state.retnorm.count), state.ring) == (0, 0, None)
    hidden = [state.params[name]["Layer_0"]["Dense_0"]["dense"]["kernel"] for name in ("actor", "critic")]
    assert not np.array_equal(*hidden), "actor and critic were drawn from the same key"


# Accumulation and devices.


def share(batch, devices):
    return jax.tree.map(lambda x: x.reshape(devices, x.shape[0] // devices, *x.shape[1:]), batch)


def on_devices(x, kind, devices):
    """The update by ``vmap`` or ``pmap`` over an axis, compiled once; each call gives (state and metrics as every device
    sees them, joined outs)."""
    fn = functools.partial(x.agent.update, axis_name="device")
    mapped = (jax.vmap if kind == "vmap" else jax.pmap)(fn, in_axes=(None, 0), out_axes=0, axis_name="device")
    shares = share(x.batch, devices)
    program = (jax.jit(mapped) if kind == "vmap" else mapped).lower(x.state(), shares)
    program = program.compile(compiler_options=QUICK)

    def run(state):
        state, metrics, outs = program(state, shares)
        return state, metrics, jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:]), outs)

    return run


def with_heads(state, scale):
    """Two-hot heads of reward and value that say nearly the same everywhere: logits ``-scale * |symlog(bin)|``."""
    params = dict(state.params)
    for group, name in (("world_model", "reward_head"), ("critic", None)):
        head = params[group][name] if name else params[group]
        output = head["Dense_0"]["dense"]
        bias = -scale * np.abs(np.linspace(-20, 20, len(output["bias"]), dtype=np.float32))
        head = {**head, "Dense_0": {"dense": {"kernel": 1e-8 * output["kernel"], "bias": bias}}}
        params[group] = {**params[group], name: head} if name else head
    return state.replace(params=params, slow_critic=params["critic"])


# Value and reward heads over DreamerV3's bins, up to e^20. An expectation over them carries the rounding of its largest
# products, whatever it amounts to: with p of the outermost bins, about 2^-24 * p * e^20 for each.
#   any: values of +-1e8, where the rounding is relative to the value. concentrated, as training makes them: p * e^20 is
#   below e^-40, so everything agrees to float32. uniform, as they begin: p = 1/15, the values are noise of up to 2 * 1.9,
#   and so is what stands on them; the world model, whose losses take no expectation, agrees all the same.
HEADS = {"any": None, "concentrated": 3.0, "uniform": 0.0}


@pytest.mark.parametrize(
    ("variant", "kind", "devices"),
    [
        ("plain", "pmap", 2),
        ("ring", "vmap", 2),
        pytest.param("ensemble", "pmap", 2, marks=pytest.mark.slow),
        ("even", "vmap", 2),
    ],
)
def test_devices_give_the_same_update(learner, variant, kind, devices):
    """Contract 28: from the same global batch; every device ends with the same state, ring and percentiles included."""
    x = learner(variant)
    run = on_devices(x, kind, devices)
    for heads, scale in HEADS.items():
        begin = x.state() if scale is None else with_heads(x.state(), scale)
        state, metrics, outs = x.update(begin, x.batch)
        states, many, joined = run(begin)
        many = {name: many[name][0] for name in many}
        if heads == "uniform":
            for device in range(devices):
                after = jax.tree.map(operator.itemgetter(device), states)
                assert_close(after.params["world_model"], state.params["world_model"])
            noise = (x.config.horizon + 1) * 2 * 2**-24 * np.exp(20) / x.config.critic.bins
            for name in ("imagination/value", "imagination/return"):
                assert abs(many[name] - metrics[name]) <= noise
            continue
        for device in range(devices):
            assert_close(jax.tree.map(operator.itemgetter(device), states), state)
        assert_close(many, dict(metrics), rtol=5e-3, atol=1e-4)
        assert_close(joined, outs, rtol=5e-3, atol=1e-4)


@pytest.mark.parametrize("variant", ["plain", "replayed"])
def test_accumulation_equals_the_whole_batch(learner, variant):
    """Contract 29: two micro-batches give the update of one batch, outs and metrics too."""
    one, two = learner(variant), learner(variant, accumulate=2)
    left, right = one.update(one.state(), one.batch), two.update(two.state(), two.batch)
    assert_close(left, right, rtol=5e-3, atol=1e-4)


@pytest.mark.parametrize("variant", ["plain", "ring"])
def test_behaviors_learned_in_parts_are_those_learned_at_once(learner, variant, monkeypatch):
    x = learner(variant)
    whole = x.update(x.state(), x.batch)
    monkeypatch.setattr(fast, "CACHED_STATES", 1)
    assert fast.behavior_parts((24, 4), 4, least=1) == 4
    agent = make_agent(x.config, x.spec)
    assert_close(jax.jit(agent.update, compiler_options=QUICK)(x.state(), x.batch), whole, rtol=5e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("states", "windows", "least", "parts"),
    [
        ((1024, 16), 16, 1, 4),
        ((1024, 4), 16, 1, 1),
        ((1024, 16), 16, 8, 8),
        ((1024, 16), 6, 1, 2),  # 3 parts are no whole rollouts, 6 neither
        ((1000, 16), 15, 1, 5),
        ((4096, 16), 4, 2, 4),  # a window is never cut
    ],
)
def test_parts_are_whole_and_small(states, windows, least, parts):
    assert fast.behavior_parts(states, windows, least=least) == parts


def test_the_ring_keeps_rollouts_in_order_and_learns_from_draws(learner):
    """Rollouts of the whole batch are written; those drawn are weighted as of an older policy."""
    x = learner("ring")
    state, metrics, _ = x.update(x.state(), x.batch)
    np.testing.assert_array_equal(state.ring.data.row[:24], np.arange(24))
    assert (int(state.ring.size), int(state.ring.head)) == (24, 24)
    again, _, _ = x.update(state, x.batch)
    assert (int(again.ring.size), int(again.ring.head)) == (30, 18)
    assert changed(state.params["actor"], again.params["actor"])
    assert np.isfinite(metrics["train/loss/actor"])


def test_drawn_rollouts_of_another_policy_weigh_less(learner):
    """Rollouts of an older policy count by min(1, pi / mu): those that it took far more readily than today's count not."""
    x = learner("ring")
    state, _, _ = x.update(x.state(), x.batch)
    ring = state.ring
    eager = ring.replace(data=ring.data.replace(log_prob=ring.data.log_prob + 1e4))
    losses = [x.update(state.replace(ring=r), x.batch)[1]["train/loss/actor"] for r in (ring, eager)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("kind", ["rssm", "grid"])
def test_bfloat16_computes_in_half_and_learns_in_full(kind, tiny_config, tiny_spec):
    """Activations are bfloat16; parameters, gradients, optimizer state, return scale and losses stay float32. Types
    are those of the program that would be compiled."""
    config = vary(tiny_config, model={"kind": kind}, parallel={"precision": "bfloat16"})
    agent = make_agent(config, tiny_spec)
    state = jax.eval_shape(agent.init, jax.random.key(0))
    batch = random_batch(tiny_spec)
    after, metrics, outs = jax.eval_shape(agent.update, state, batch)
    model = agent.world_model
    loss_of = lambda p, key: world_model_loss(p, model, tiny_spec, config.loss, batch, key, symlog=True)
    grads, post = jax.eval_shape(
        lambda params, key: jax.grad(
            lambda p: (lambda loss, _, aux: (loss, aux[0]))(*loss_of(p, key)),
            has_aux=True,
        )(params),
        state.params["world_model"],
        jax.random.key(0),
    )
    floats = lambda tree: {str(x.dtype) for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)}
    for name in ("params", "slow_critic", "opt_state", "retnorm"):
        assert floats(getattr(state, name)) == floats(getattr(after, name)) == {"float32"}, name
    assert floats(grads) == floats(metrics) == floats(outs.priority) == {"float32"}
    assert floats((outs.latents, post.state)) == {"bfloat16"}
    assert floats(jax.eval_shape(model.feat, post.state)) == {"bfloat16"}
    products = list(matrix_products(jax.make_jaxpr(agent.update)(state, batch).jaxpr))
    half = [all(str(x.aval.dtype) == "bfloat16" for x in eqn.invars) for eqn in products]
    # The grid model's row pointer works in float32, by so many products.
    full = {"rssm": 0, "grid": 34}[kind]
    others = [eqn for eqn, h in zip(products, half, strict=True) if not h]
    assert len(others) == full and sum(half) > 0, others


def test_the_estimate_of_activations_is_near_what_xla_takes(learner):
    x = learner("plain")
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (x.state(), x.batch))
    estimate = memory.activation_bytes(x.update.trace(*shapes).jaxpr)
    measured = x.update.lower(*shapes).compile().memory_analysis().temp_size_in_bytes
    assert measured / 4 < estimate < measured * 2, (estimate, measured)


def test_bfloat16_learns_like_float32(learner):
    """Parameters stay float32; losses agree roughly; nothing is NaN."""
    half, full = learner("plain", precision="bfloat16"), learner("plain")
    state, metrics, _ = half.update(half.state(), half.batch)
    assert {x.dtype for x in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves((state.params, metrics)))
    expected = full.update(full.state(), full.batch)[1]["train/world_model_loss"]
    np.testing.assert_allclose(metrics["train/world_model_loss"], expected, rtol=0.1)


def test_extreme_batches_give_finite_updates(learner):
    """Contract 27: rewards of +-1e9, observations of +-1e9, empty masks, every step an ending."""
    x = learner("plain")
    sign = np.where(np.arange(6) % 2, 1, -1).astype(np.float32)
    batch = x.batch.replace(
        reward=np.broadcast_to(1e9 * sign, (4, 6)).astype(np.float32),
        obs={
            "vector": np.broadcast_to(1e9 * sign[:, None], (4, 6, 5)).astype(np.float32),
            "action_mask": np.zeros((4, 6, 3), np.int8),
        },
        is_terminal=np.ones((4, 6), bool),
        is_last=np.ones((4, 6), bool),
    )
    state, metrics, outs = x.update(x.state(), batch)
    for path, value in leaves((state.params, state.opt_state, state.retnorm, metrics, outs)):
        assert np.all(np.isfinite(value)), jax.tree_util.keystr(path)
