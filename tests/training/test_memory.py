"""What is said about memory, and what is refused."""

from __future__ import annotations

import os
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from dreamjax.config import ConfigError, ParallelConfig
from dreamjax.training import memory


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


def test_report_names_every_part() -> None:
    state = SimpleNamespace(
        params={"a": jnp.zeros(250_000)}, slow_critic={}, opt_state=jnp.zeros(500_000), ring=jnp.zeros(0)
    )
    text = memory.report(state, 3 * 10**8)
    assert "250,000 parameters" in text
    assert "parameters 1.0 MB, optimiser 2.0 MB of" in text
    assert "imagined" not in text
    assert "replay 0.30 GB" in text
