"""Programs compiled before their first call."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.training.runtime.background_compiler import BackgroundCompiler

COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names what is compiled, or read from the cache on disk, while the test runs."""
    seen: list[str] = []
    listening = True

    def listen(event: str, seconds: float, **kwargs: object) -> None:
        if listening and event == COMPILED:
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    listening = False


def scaled(state: dict, x: jax.Array, *, negative: bool) -> tuple[dict, jax.Array]:
    total = jnp.sum(jnp.sin(x) * 1.2345)
    return {"w": state["w"] + total, "key": state["key"]}, -total if negative else total


def test_a_call_finds_the_program_that_was_compiled_in_the_background(compilations: list[str]) -> None:
    fn = jax.jit(scaled, static_argnames="negative", donate_argnums=0)
    state = {"w": jnp.zeros(3), "key": jax.random.key(0)}
    shapes = jax.eval_shape(lambda: {"w": jnp.zeros(3), "key": jax.random.key(0)})
    compilations.clear()
    wait = BackgroundCompiler(True).submit(fn, shapes, jax.ShapeDtypeStruct((4,), np.float32), negative=True)
    assert wait is not None
    compilation = wait()
    assert compilation.seconds > 0
    assert compilation.temporary_bytes is not None
    assert len(compilations) == 1
    for x in (np.ones(4, np.float32), jax.device_put(np.ones(4, np.float32))):  # as records come, and as batches do
        state, value = fn(jax.device_put(state), x, negative=True)
    assert len(compilations) == 1
    np.testing.assert_allclose(value, -4 * np.sin(1) * 1.2345, rtol=1e-6)


def test_an_error_of_compiling_is_raised_where_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def lower(self) -> Broken:
            return self

        def compile(self) -> None:
            raise ValueError("no such instruction")

    wait = BackgroundCompiler(True).submit(Broken())
    assert wait is not None
    with pytest.raises(ValueError, match="no such instruction"):
        wait()


def test_nothing_is_started_where_it_is_off_or_cannot_be() -> None:
    assert BackgroundCompiler(False).submit(jax.jit(jnp.sin), jax.ShapeDtypeStruct((), np.float32)) is None
    assert BackgroundCompiler(True).submit(lambda x: x, 1.0) is None
