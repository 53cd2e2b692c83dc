"""Set-up of every test: JAX's checks, four virtual devices, a compilation cache, and one tiny agent for all."""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import Callable, Iterator
from typing import Any

from tests.helpers import ROOT
from tests.helpers.xla import QUICK_FLAGS, set_environment

set_environment(cache=ROOT / ".jax_cache")
os.environ.setdefault("MPLBACKEND", "Agg")
# Most of a test run is compilation.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK_FLAGS}".strip()

import jax
import pytest

from dreamjax.config import Config
from dreamjax.types import Batch, EnvSpec
from tests.helpers.batches import make_tiny_spec, random_batch
from tests.helpers.configs import make_tiny_config

if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Tracing makes many objects and few cycles.
gc.set_threshold(100_000, 20, 100)


@pytest.fixture
def no_key_twice() -> Iterator[None]:
    """What is traced in the test uses no random key twice, or raises: contract 31. It costs a tenth of tracing."""
    with jax.debug_key_reuse(True):
        yield


@pytest.fixture(scope="module")
def shared_programs() -> Iterator[None]:
    """Trainers of one configuration trace their programs once in a file, see ``share_programs``."""
    from tests.helpers.programs import share_programs

    with pytest.MonkeyPatch.context() as monkeypatch:
        share_programs(monkeypatch)
        yield


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    return make_tiny_config()


@pytest.fixture(scope="session")
def tiny_spec() -> EnvSpec:
    return make_tiny_spec()


@pytest.fixture(scope="session")
def tiny_batch(tiny_spec: EnvSpec) -> Callable[..., Batch]:
    """``tiny_batch(batch=4, length=6, seed=0)`` draws random windows of ``tiny_spec``."""
    return functools.partial(random_batch, tiny_spec)


@pytest.fixture(scope="session")
def tiny_agent(tiny_config: Config, tiny_spec: EnvSpec) -> Any:
    """One tiny agent, compiled once a session."""
    from dreamjax.agents.agent import make_agent

    return make_agent(tiny_config, tiny_spec)
