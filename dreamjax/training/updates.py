"""From the agent's update to the one call that the loop makes, in the order of the layers:

    agent.update        pure: (state, batch) -> (state, metrics, outs), bound to its phases
    skip_nonfinite      returns the old state where a number is not finite    optimizer.skip_nonfinite
    scan_updates        U updates in one program                              schedule.updates_per_call
    compile_update      jit on one device, pmap on several; donates the state parallel.num_devices
    log_compilation     compiled in the background, logged at the first call

``Updates`` holds such a function for each tuple of phases and each number of updates that a call makes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.agents.agent import Agent
from dreamjax.algorithms.randomness import is_key
from dreamjax.algorithms.update import Phases
from dreamjax.config import Config
from dreamjax.training.runtime import devices, memory
from dreamjax.training.runtime.background_compiler import BackgroundCompiler, log_compilation
from dreamjax.training.schedule import Pending
from dreamjax.types import Batch, Metrics, ReplayOuts, TrainState

SKIPPED = "train/skipped"  # 1 where an update was skipped, else 0

PureUpdate = Callable[..., tuple[TrainState, Metrics, ReplayOuts]]
"""``(state, batch, *, axis_name=None) -> (state, metrics, outs)``, a pure function."""
Update = Callable[[TrainState, Batch], tuple[TrainState, Metrics, ReplayOuts]]


class Updates:
    """The compiled updates of a run: for each tuple of phases, one update a call and ``schedule.updates_per_call``.

    Args:
        agent, config: of the run. phases: of the updates that the schedule asks for.
        num_devices: local devices that share each batch.
    """

    def __init__(self, agent: Agent, config: Config, phases: Iterable[Phases], num_devices: int) -> None:
        self._num_devices = num_devices
        self._functions = {each: pure_update(agent, config, each) for each in phases}
        self._compiled = {
            (each, count): compile_update(fn, num_devices, count=count)
            for each, fn in self._functions.items()
            for count in sorted({1, config.schedule.updates_per_call})
        }

    def activation_bytes(self, phases: Phases, state: Any, batch: Any) -> int:
        """Estimate of the memory that one update takes for activations, see ``memory.activation_bytes``.

        Args:
            state, batch: shapes, of the whole batch. On one device the first call reuses this trace.
        """
        compiled = self._compiled[phases, 1]
        if hasattr(compiled, "trace"):
            return memory.activation_bytes(compiled.trace(state, batch).jaxpr)
        part = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((x.shape[0] // self._num_devices, *x.shape[1:]), x.dtype), batch
        )
        return memory.activation_bytes(jax.make_jaxpr(self._functions[phases])(state, part))

    def compile(
        self, state: Any, batches: Mapping[Phases, Any], compiler: BackgroundCompiler, total_devices: int
    ) -> None:
        """Starts to compile in the background, where ``compiler`` does, and logs from now on what is compiled.

        Args:
            state, batches: shapes; of a batch for each tuple of phases. total_devices: of all processes.
        """
        place = f"{total_devices} x {jax.devices()[0].device_kind}"
        for (phases, count), update in self._compiled.items():
            program = compiler.submit(update, state, stack_shapes(batches[phases], count))
            name = f"the update of {', '.join(phases)}" if count == 1 else f"{count} updates of {', '.join(phases)}"
            self._compiled[phases, count] = log_compilation(f"{name} for {place}", update, program, with_memory=True)

    def __call__(
        self, call: Pending, state: TrainState, batches: Sequence[Batch]
    ) -> tuple[TrainState, Metrics, ReplayOuts]:
        """Makes the updates of one call.

        Args:
            call: of ``chunk_updates``. state: donated; use the new one. batches: one for each update.

        Returns:
            The new state; metrics and outs, with a leading axis of updates where there are several (``unstack``).
        """
        batch = devices.place(stack(batches), self._num_devices)
        return self._compiled[call.phases, call.count](state, batch)


def pure_update(agent: Agent, config: Config, phases: Phases) -> PureUpdate:
    """The agent's update with these phases, guarded where ``optimizer.skip_nonfinite`` allows updates to be skipped."""
    update = partial(agent.update, phases=phases)
    return skip_nonfinite(update) if config.optimizer.skip_nonfinite else update


def skip_nonfinite(update: PureUpdate) -> PureUpdate:
    """``update`` that returns the state it was given where a metric or a new parameter is not finite.

    Only ``step`` advances then, so that the next update draws other random numbers. The metrics are those of the skipped
    update, which say why, and ``train/skipped`` (float32 ``[]``). Pure; all devices decide alike, because metrics and
    parameters agree there.
    """

    def guarded(
        state: TrainState, batch: Batch, *, axis_name: str | None = None
    ) -> tuple[TrainState, Metrics, ReplayOuts]:
        new, metrics, outs = update(state, batch, axis_name=axis_name)
        checked = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves((metrics, new.params))]
        good = jnp.all(jnp.stack(checked))
        # Keys are the same either way: random numbers fold by step.
        kept = jax.tree.map(lambda a, b: a if is_key(a) else jnp.where(good, a, b), new, state)
        skipped = (~good).astype(jnp.float32)
        return kept.replace(step=new.step), {**metrics, SKIPPED: skipped}, outs

    return guarded


def scan_updates(update: PureUpdate) -> PureUpdate:
    """``update`` as one function of several batches ``[U, B, T, ...]``, by ``lax.scan``.

    Returns:
        ``(state, batches) -> (state, metrics [U], outs [U, B, T, ...])``: those of ``U`` successive calls of ``update``.
    """

    def updates(
        state: TrainState, batches: Batch, *, axis_name: str | None = None
    ) -> tuple[TrainState, Metrics, ReplayOuts]:
        def body(state: TrainState, batch: Batch) -> tuple[TrainState, tuple[Metrics, ReplayOuts]]:
            state, metrics, outs = update(state, batch, axis_name=axis_name)
            return state, (metrics, outs)

        state, (metrics, outs) = jax.lax.scan(body, state, batches)
        return state, metrics, outs

    return updates


def compile_update(update: PureUpdate, num_devices: int, *, count: int = 1, always_map: bool = False) -> Update:
    """Compiles ``update`` for ``num_devices`` local devices of every process: by ``jit`` on one, by ``pmap`` on several.

    The state is replicated without a leading device axis and the batch is split over devices, so callers see the same
    function in all cases; the numbers agree because randomness folds by the batch's global ``row``. In a run of several
    processes all must call it in step, each with its part of the global batch and the same state; ``outs`` are those of
    that part.

    Args:
        count: updates of one call; above 1, batches, metrics and ``outs`` have a leading axis of that length.
        always_map: use ``pmap`` on one device too, to compare.

    Returns:
        ``(state, batch [B, T, ...]) -> (state, metrics, outs [B, T, ...])``. ``state`` is donated: use the new one.
        ``B`` must be a multiple of ``num_devices``.

    Raises:
        ConfigError: there are fewer devices.
    """
    num_devices = devices.device_count(num_devices)
    if count > 1:
        update = scan_updates(update)
    if num_devices == jax.process_count() == 1 and not always_map:
        return jax.jit(update, donate_argnums=0)
    mapped = jax.pmap(
        partial(update, axis_name=devices.AXIS),
        axis_name=devices.AXIS,
        in_axes=(None, 0),
        out_axes=(None, None, 0),
        donate_argnums=0,
        devices=[device for i in range(jax.process_count()) for device in jax.local_devices(i)[:num_devices]],
    )

    def split(x: Any) -> Any:
        if count == 1:
            return x.reshape(num_devices, -1, *x.shape[1:])
        return x.reshape(count, num_devices, -1, *x.shape[2:]).swapaxes(0, 1)

    def join(x: Any) -> Any:
        if count > 1:
            x = x.swapaxes(0, 1)
            return x.reshape(count, -1, *x.shape[3:])
        return x.reshape(-1, *x.shape[2:])

    def mapped_update(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics, ReplayOuts]:
        state, metrics, outs = mapped(state, jax.tree.map(split, batch))
        if jax.default_backend() == "cpu":
            # The CPU runs the programs of all its devices on a few threads: one that waits for another process must not
            # have later programs, such as these reshapes, queue in its way. Two processes on two cores deadlocked.
            jax.block_until_ready((state, metrics, outs))
        return state, metrics, jax.tree.map(join, outs)

    return mapped_update


def chunk_updates(pending: Sequence[Pending], updates_per_call: int) -> list[Pending]:
    """Pending updates, in order, as calls of exactly ``updates_per_call`` updates, and of one for each left over."""
    calls = []
    for item in pending:
        whole, rest = divmod(item.count, updates_per_call)
        counts = [updates_per_call] * whole + [1] * rest
        calls += [dataclasses.replace(item, count=count) for count in counts]
    return calls


def stack(batches: Sequence[Batch]) -> Batch:
    """One batch as it is; several with a new leading axis, on the host."""
    return batches[0] if len(batches) == 1 else jax.tree.map(lambda *x: np.stack(x), *batches)


def stack_shapes(batch: Any, count: int) -> Any:
    """Shapes of ``count`` stacked batches from those of one."""
    if count == 1:
        return batch
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape), x.dtype), batch)


def unstack(tree: Any, count: int) -> list[Any]:
    """The parts of what one call of ``count`` updates returned; waits for them where there are several."""
    if count == 1:
        return [tree]
    tree = jax.device_get(tree)
    return [jax.tree.map(lambda x: x[i], tree) for i in range(count)]  # noqa: B023
