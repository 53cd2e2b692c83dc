"""What is said about memory, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.config import ConfigError, ParallelConfig
from dreamjax.training.runtime import memory
from dreamjax.types import EnvSpec, RSSMState


def test_xla_is_told_but_the_users_environment_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "x")
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE")
    memory.configure(ParallelConfig(memory_fraction=0.7))
    assert os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.5"
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


def test_bytes_of_a_tree_by_dtype() -> None:
    tree = {"a": jnp.zeros((3, 4), jnp.bfloat16), "b": jax.ShapeDtypeStruct((5,), jnp.float32), "c": jax.random.key(0)}
    assert memory.tree_bytes(tree) == 24 + 20 + 8
    assert memory.tree_bytes(None) == 0


def test_a_replay_that_cannot_fit_is_refused_with_one_that_would() -> None:
    memory.check_replay(100, 1000, 100)
    memory.check_replay(100, 1000, None)
    with pytest.raises(ConfigError, match=r"replay\.capacity=1000 .*replay\.capacity=400 would fit"):
        memory.check_replay(200, 1000, 100)


def test_host_memory_is_known_here() -> None:
    available = memory.host_available()
    assert available is not None
    assert 1e8 < available < 1e14


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:      5 kB\n"}, 5120),
        ({"sys/fs/cgroup/memory.max": "3000\n", "sys/fs/cgroup/memory.current": "1000\n"}, 2000),
        ({"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "1000\n"}, None),
        (
            {
                "proc/self/cgroup": "0::/user/run\n",
                "sys/fs/cgroup/user/memory.max": "900",
                "sys/fs/cgroup/user/memory.current": "1000",
            },
            0,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/x\n4:memory:/docker/a\n",
                "sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes": "5000",
                "sys/fs/cgroup/memory/docker/a/memory.usage_in_bytes": "1",
            },
            4999,
        ),
        ({}, None),
    ],
)
def test_host_memory_within_the_control_groups_limits(
    tmp_path: Path, files: dict[str, str], expected: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory.host_available(tmp_path) == expected


def test_activations_of_programs_by_hand() -> None:
    x = jnp.zeros(10)  # 40 bytes
    both = lambda x: jnp.sin(x) + jnp.cos(x)  # two held, then their sum beside them
    assert memory.activation_bytes(jax.make_jaxpr(both)(x)) == 120
    chain = lambda x: jnp.sin(jnp.sin(jnp.sin(x)))  # never more than one and its successor
    assert memory.activation_bytes(jax.make_jaxpr(chain)(x)) == 80
    loop = lambda x: jax.lax.scan(lambda c, _: (jnp.sin(c), c), x, None, length=5)
    # The stacked outputs and the carry; within a step nothing more is held.
    assert memory.activation_bytes(jax.make_jaxpr(loop)(x)) == 5 * 40 + 40
    assert memory.activation_bytes(jax.make_jaxpr(jax.jit(both))(x)) == 120


def test_batch_shapes_are_those_of_replay(tiny_spec: EnvSpec, tiny_batch: Any) -> None:
    shapes = memory.batch_shapes(tiny_spec, 4, 6)
    chex.assert_trees_all_equal_shapes_and_dtypes(shapes, tiny_batch())
    latents = RSSMState(deter=np.zeros((1, 3), np.float32), stoch=np.zeros((1, 2, 5), np.float32))
    full = memory.batch_shapes(tiny_spec, 4, 6, latents=latents)
    assert (full.context.deter.shape, full.context.stoch.shape) == ((4, 3), (4, 2, 5))


NEED = memory.MemoryEstimate(parameters=100, optimizer=200, rollouts=0, activations=1000, replay=400)


def test_a_batch_that_cannot_fit_is_refused_with_one_that_would() -> None:
    memory.check_device(NEED, 16, on_host=False, available=800)  # 500 left: half of the estimate is certain
    memory.check_device(NEED, 16, on_host=False, available=None)
    with pytest.raises(ConfigError, match=r"batch_size=16 is not allowed.*batch_size=6 would fit"):
        memory.check_device(NEED, 16, on_host=False, available=700)
    with pytest.raises(ConfigError, match=r"batch_size=16 is not allowed"):
        memory.check_device(NEED, 16, on_host=True, available=1199)  # the replay lies there too
    with pytest.raises(ConfigError, match=r"model is not allowed"):
        memory.check_device(NEED, 16, on_host=False, available=299)


def test_need_adds_up_and_the_report_names_every_part() -> None:
    state = SimpleNamespace(
        params={"a": jnp.zeros(250_000)}, slow_critic={"b": jnp.zeros(5)}, opt_state=jnp.zeros(500_000), ring=None
    )
    need = memory.estimate(state, activations=7_000_000, replay=3 * 10**8)
    assert need == memory.MemoryEstimate(1_000_020, 2_000_000, 0, 7_000_000, 300_000_000)
    assert need.state == 3_000_020
    text = memory.report(250_000, need)
    assert "250,000 parameters" in text
    assert "parameters 1.0 MB, optimizer 2.0 MB, activations about 7.0 MB of" in text
    assert "imagined" not in text
    assert "replay 0.30 GB" in text


def test_statistics_are_measured_or_left_out() -> None:
    values = memory.statistics()
    assert values["memory/host_rss"] > 1e7
    assert "memory/device_bytes_in_use" not in values  # CPU devices do not tell


def test_statistics_of_a_device_that_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    device = SimpleNamespace(memory_stats=lambda: {"bytes_in_use": 3, "peak_bytes_in_use": 5, "largest_alloc_size": 7})
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    values = memory.statistics()
    assert (values["memory/device_bytes_in_use"], values["memory/device_peak_bytes"]) == (3, 5)
    assert len(values) == 3
