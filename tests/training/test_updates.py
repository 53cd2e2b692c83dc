"""From the agent's update to the loop's call: all or nothing, several in one call, one device or several."""

from __future__ import annotations

import logging
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.algorithms.update import TASK
from dreamjax.config import ConfigError
from dreamjax.training.runtime import devices
from dreamjax.training.runtime.background_compiler import BackgroundCompiler
from dreamjax.training.schedule import Pending
from dreamjax.training.updates import SKIPPED, Updates, chunk_updates, compile_update, skip_nonfinite, stack, unstack
from dreamjax.types import NormalizerState, TrainState
from tests.helpers.configs import make_tiny_config
from tests.helpers.fakes import fake_agent


def make_state() -> TrainState:
    return TrainState(
        step=jnp.asarray(4, jnp.int32),
        key=jax.random.key(1),
        params={"world_model": {"w": jnp.ones(3)}},
        slow_critic={"v": jnp.zeros(2)},
        opt_state={"world_model": (jnp.zeros(3), jnp.zeros((), jnp.int32))},
        retnorm=NormalizerState(jnp.zeros(()), jnp.ones(()), jnp.zeros((), jnp.int32)),
    )


def add(state: TrainState, batch: Any, *, axis_name: str | None = None) -> Any:
    """Adds ``batch[0]`` to every parameter and moment; the loss is ``batch[1]``."""
    change = lambda tree: jax.tree.map(lambda x: x + batch[0].astype(x.dtype), tree)
    new = state.replace(
        step=state.step + 1,
        params=change(state.params),
        slow_critic=change(state.slow_critic),
        opt_state=change(state.opt_state),
        retnorm=change(state.retnorm),
    )
    return new, {"train/loss/x": batch[1], "other": jnp.zeros(())}, None


@pytest.mark.parametrize(("change", "loss"), [(1.0, 2.0), (1.0, np.nan), (1.0, np.inf), (np.nan, 2.0), (-np.inf, 0.0)])
def test_all_or_nothing(change: float, loss: float) -> None:
    state, batch = make_state(), jnp.array([change, loss])
    new, metrics, _ = jax.jit(skip_nonfinite(add))(state, batch)
    good = np.isfinite(change) and np.isfinite(loss)
    assert int(new.step) == 5
    assert float(metrics[SKIPPED]) == (0.0 if good else 1.0)
    np.testing.assert_array_equal(metrics["train/loss/x"], np.float32(loss))
    expected = add(state, batch)[0] if good else state.replace(step=state.step + 1)
    chex.assert_trees_all_equal(new, expected, strict=True)


def update(state: Any, batch: Any, *, axis_name: str | None = None) -> Any:
    mean = jnp.mean(batch["x"])
    if axis_name is not None:
        mean = jax.lax.pmean(mean, axis_name)
    return {"w": state["w"] + mean, "key": state["key"]}, {"mean": mean}, batch["x"] * 2 + batch["row"][:, None]


def fresh(num_devices: int) -> Any:
    return devices.replicate({"w": jnp.zeros(3), "key": jax.random.key(0)}, num_devices)


@pytest.mark.parametrize("num_devices", [1, 2, 4])
def test_several_devices_give_what_one_gives(num_devices: int) -> None:
    batch = {"x": np.arange(24, dtype=np.float32).reshape(8, 3), "row": np.arange(8, dtype=np.float32), "no": None}
    run = compile_update(update, num_devices)
    state = fresh(num_devices)
    for _ in range(2):
        state, metrics, outs = run(state, devices.place(batch, num_devices))
    np.testing.assert_allclose(devices.local(state["w"]), np.full(3, 2 * 11.5))
    assert float(metrics["mean"]) == 11.5
    np.testing.assert_array_equal(outs, batch["x"] * 2 + batch["row"][:, None])  # in the batch's order


@pytest.mark.parametrize("num_devices", [1, 2])
def test_several_updates_of_one_call_see_their_own_batches(num_devices: int) -> None:
    batch = {
        "x": np.arange(48, dtype=np.float32).reshape(2, 8, 3),
        "row": np.arange(16, dtype=np.float32).reshape(2, 8),
    }
    run = compile_update(update, num_devices, count=2)
    state, metrics, outs = run(fresh(num_devices), devices.place(batch, num_devices))
    np.testing.assert_array_equal(metrics["mean"], [11.5, 35.5])
    np.testing.assert_allclose(devices.local(state["w"]), np.full(3, 47.0))
    np.testing.assert_array_equal(outs, batch["x"] * 2 + batch["row"][..., None])


def test_one_device_by_pmap_gives_what_jit_gives() -> None:
    batch = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "row": np.zeros(2, np.float32)}
    single, mapped = (compile_update(update, 1, always_map=flag)(fresh(1), batch) for flag in (False, True))
    np.testing.assert_array_equal(single[0]["w"], mapped[0]["w"])
    np.testing.assert_array_equal(single[2], mapped[2])


def test_the_update_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = []

    def counted(state: Any, batch: Any, *, axis_name: str | None = None) -> Any:
        traces.append(axis_name)
        return state, {"x": jnp.sum(batch)}, batch

    for num_devices in (1, 2):
        traces.clear()
        run, state = compile_update(counted, num_devices), fresh(num_devices)
        for _ in range(3):
            state, _, _ = run(state, np.ones((4, 2), np.float32))
        assert traces == [None if num_devices == 1 else devices.AXIS]


@pytest.mark.parametrize("num_devices", [1, 2])
def test_the_state_is_donated(num_devices: int) -> None:
    state = fresh(num_devices)
    places = [shard.data.unsafe_buffer_pointer() for shard in state["w"].addressable_shards]
    batch = {"x": np.ones((2, 3), np.float32), "row": np.ones(2, np.float32)}
    after, _, _ = compile_update(update, num_devices)(state, batch)
    assert state["w"].is_deleted()
    assert [shard.data.unsafe_buffer_pointer() for shard in after["w"].addressable_shards] == places


def test_more_devices_than_there_are() -> None:
    assert devices.device_count(0) == jax.local_device_count() == 4
    with pytest.raises(ConfigError, match=r"parallel\.num_devices=5 .*4 cpu devices"):
        compile_update(update, 5)


def test_calls_take_whole_numbers_of_updates_in_order() -> None:
    pending = [Pending(("world_model",), 7, 4), Pending(("actor_critic",), 2, 8)]
    calls = chunk_updates(pending, 3)
    assert [(call.phases[0], call.count, call.batch_size) for call in calls] == [
        ("world_model", 3, 4), ("world_model", 3, 4), ("world_model", 1, 4), ("actor_critic", 1, 8), ("actor_critic", 1, 8),
    ]  # fmt: skip
    assert chunk_updates(pending, 1) == [
        Pending(item.phases, 1, item.batch_size) for item in pending for _ in range(item.count)
    ]


def test_unstack_takes_apart_what_stack_joins() -> None:
    parts = [{"x": np.full(3, i)} for i in range(4)]
    for left, right in zip(unstack(stack(parts), 4), parts, strict=True):
        np.testing.assert_array_equal(left["x"], right["x"])
    assert stack(parts[:1]) is parts[0] and unstack(parts[0], 1) == [parts[0]]


@pytest.mark.parametrize("background", [False, True])
def test_the_call_of_the_loop_is_the_agents_update_and_logs_its_compilation(
    tiny_batch: Any, background: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dreamjax")
    agent, config = fake_agent(), make_tiny_config(schedule={"updates_per_call": 2})
    batch = {"obs": {"count": np.ones((4, 6, 1), np.float32)}, "context": None}
    batches = [tiny_batch(seed=seed).replace(**batch) for seed in range(2)]
    updates = Updates(agent, config, [TASK], 1)
    shapes = jax.eval_shape(lambda: (agent.init(jax.random.key(0)), batches[0]))
    updates.compile(shapes[0], {TASK: shapes[1]}, BackgroundCompiler(background), 1)
    expected, losses = agent.init(jax.random.key(0)), []
    for each in batches:
        expected, metrics, _ = agent.update(expected, each)
        losses.append(metrics["train/loss/update"])
    state, metrics, outs = updates(Pending(TASK, 2, 4), agent.init(jax.random.key(0)), batches)
    np.testing.assert_allclose(metrics["train/loss/update"], losses, rtol=1e-6)
    chex.assert_trees_all_close(state.params, expected.params, rtol=1e-6)
    assert [np.shape(out.priority) for out in unstack(outs, 2)] == [(4, 6)] * 2
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "compiling 2 updates of world_model, actor_critic for 1 x cpu ..."
    assert lines[1].startswith("compiled 2 updates of world_model, actor_critic for 1 x cpu in ")
    assert any("of device memory in addition to its state" in line for line in lines) == background
    state, _, _ = updates(Pending(TASK, 2, 4), state, batches)
    assert len(caplog.records) == len(lines)  # only the first call says so
    state, _, _ = updates(Pending(TASK, 1, 4), state, batches[:1])
    assert int(state.step) == 5
