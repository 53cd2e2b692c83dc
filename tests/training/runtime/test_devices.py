"""One function on one device or several: the same numbers from the same global batch."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.agents.agent import make_agent
from dreamjax.config import Config, ConfigError, from_dict, merge, to_dict
from dreamjax.training.runtime import devices
from dreamjax.types import EnvSpec


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
    run = devices.make_update(update, num_devices)
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
    run = devices.make_update(update, num_devices, count=2)
    state, metrics, outs = run(fresh(num_devices), devices.place(batch, num_devices))
    np.testing.assert_array_equal(metrics["mean"], [11.5, 35.5])
    np.testing.assert_allclose(devices.local(state["w"]), np.full(3, 47.0))
    np.testing.assert_array_equal(outs, batch["x"] * 2 + batch["row"][..., None])


def test_one_device_by_pmap_gives_what_jit_gives() -> None:
    batch = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "row": np.zeros(2, np.float32)}
    single, mapped = (devices.make_update(update, 1, always_map=flag)(fresh(1), batch) for flag in (False, True))
    np.testing.assert_array_equal(single[0]["w"], mapped[0]["w"])
    np.testing.assert_array_equal(single[2], mapped[2])


def test_the_update_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = []

    def counted(state: Any, batch: Any, *, axis_name: str | None = None) -> Any:
        traces.append(axis_name)
        return state, {"x": jnp.sum(batch)}, batch

    for num_devices in (1, 2):
        traces.clear()
        run, state = devices.make_update(counted, num_devices), fresh(num_devices)
        for _ in range(3):
            state, _, _ = run(state, np.ones((4, 2), np.float32))
        assert traces == [None if num_devices == 1 else devices.AXIS]


@pytest.mark.parametrize("num_devices", [1, 2])
def test_the_state_is_donated(num_devices: int) -> None:
    state = fresh(num_devices)
    places = [shard.data.unsafe_buffer_pointer() for shard in state["w"].addressable_shards]
    batch = {"x": np.ones((2, 3), np.float32), "row": np.ones(2, np.float32)}
    after, _, _ = devices.make_update(update, num_devices)(state, batch)
    assert state["w"].is_deleted()
    assert [shard.data.unsafe_buffer_pointer() for shard in after["w"].addressable_shards] == places


def test_local_gives_arrays_of_one_device() -> None:
    tree = devices.local(fresh(4))
    assert tree["w"].devices() == {jax.local_devices()[0]}
    assert len(tree["key"].devices()) == 1


def test_more_devices_than_there_are() -> None:
    assert devices.device_count(0) == jax.local_device_count() == 4
    with pytest.raises(ConfigError, match=r"parallel\.num_devices=5 .*4 cpu devices"):
        devices.make_update(update, 5)


def test_a_batch_must_split() -> None:
    devices.check_divisible("batch_size", 8, 4)
    with pytest.raises(ConfigError, match=r"batch_size=6 .*= 4"):
        devices.check_divisible("batch_size", 6, 4)


def test_the_agents_update_gives_the_same_on_several_devices(
    tiny_config: Config, tiny_spec: EnvSpec, tiny_batch: Any
) -> None:
    # Two-hot heads are left out: their largest bins (e^20) turn rounding of nearly uniform outputs into targets.
    changes = {"model": {"reward_head": "mse"}, "critic": {"head": "mse"}, "imagination": {"use_ring": True}}
    agent = make_agent(from_dict(merge(to_dict(tiny_config), changes)), tiny_spec)
    states, metrics = {}, {}
    for num_devices in (1, 2):
        run = devices.make_update(agent.update, num_devices)
        state = devices.replicate(jax.jit(agent.init)(jax.random.key(0)), num_devices)
        for seed in range(3):
            state, metrics[num_devices], _ = run(state, tiny_batch(seed=seed))
        states[num_devices] = jax.device_get(state.replace(key=jax.random.key_data(state.key)))
    for name in metrics[1]:
        np.testing.assert_allclose(metrics[2][name], metrics[1][name], rtol=1e-4, atol=1e-6, err_msg=name)
    chex.assert_trees_all_close(states[1].params, states[2].params, atol=1e-6)
    # Every device's rollouts are in the ring, in the order of the global batch.
    chex.assert_trees_all_close(states[1].ring, states[2].ring, rtol=1e-4, atol=1e-5)
