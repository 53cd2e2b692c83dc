"""Steps environments with the policy and stores what happens."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.seeds import derived_seed
from dreamjax.training.collection.episodes import EpisodeNumbers, with_plain_names
from dreamjax.types import Array, EnvSpec, Params, Records, RSSMState

_STREAM = 1  # folded into the run's seed, so that acting and learning never share a key


class Policy(NamedTuple):
    """A compiled policy.

    Attributes:
        initial_carry: ``(num_envs) -> carry``.
        act: ``(params, carry, obs, is_first, key, step, *, greedy) -> (carry, action record [N, K], latents)``;
            row ``i`` acts with ``fold_in(fold_in(key, step), i)``.
    """

    initial_carry: Callable[[int], Any]
    act: Callable[..., tuple[Any, Array, RSSMState]]


class Environments(Protocol):
    """The members of ``dreamjax.envs.adapter.Adapter`` that collecting uses."""

    @property
    def spec(self) -> EnvSpec: ...

    def reset(self, seed: int | None = None) -> Records: ...

    def step(self, action: np.ndarray) -> tuple[Records | None, Records]: ...

    def get_state(self) -> dict[str, np.ndarray] | None: ...

    def set_state(self, state: dict[str, np.ndarray]) -> Records: ...


class Replay(Protocol):
    """The member of ``dreamjax.buffers.sequence_buffer.SequenceBuffer`` that collecting uses."""

    def add(self, records: Records, action: np.ndarray, latents: RSSMState | None = None) -> None: ...


def make_policy(policy_fn: Callable[..., Any], initial_carry: Callable[[int], Any]) -> Policy:
    """Compiles an agent's ``policy`` with a key for each row; one compilation for each number of rows."""

    def act(params: Params, carry: Any, obs: Any, is_first: Array, key: Array, step: Array, *, greedy: bool) -> Any:
        key = jax.random.fold_in(key, step)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(is_first.shape[0], dtype=jnp.uint32))
        return policy_fn(params, carry, obs, is_first, keys, greedy=greedy)

    return Policy(initial_carry, jax.jit(act, static_argnames="greedy"))


def acting_shapes(policy: Policy, params: Any, spec: EnvSpec, num_envs: int) -> tuple[Any, ...]:
    """Shapes of the arguments that the collector passes to ``policy.act``; ``params`` are shapes too."""
    obs = {name: jax.ShapeDtypeStruct((num_envs, *entry.shape), entry.dtype) for name, entry in spec.obs.items()}
    carry = jax.eval_shape(lambda: policy.initial_carry(num_envs))
    key = jax.eval_shape(lambda: jax.random.key(0))
    is_first = jax.ShapeDtypeStruct((num_envs,), bool)
    return params, carry, obs, is_first, key, jax.ShapeDtypeStruct((), np.uint32)


class VectorTransition(NamedTuple):
    """One step of all environments: action records ``[N, K]``, the latents to keep, and the results of ``Adapter.step``."""

    action: np.ndarray
    latents: RSSMState | None
    final: Records | None
    records: Records


class Steps(Protocol):
    """Several steps of all environments in one call: ``dreamjax.training.collection.compiled_collector.CompiledSteps``."""

    def begin(self, params: Params, carry: Any, records: Records, key: Array, step: int) -> tuple[Any, Any]: ...

    def finish(self, in_flight: Any) -> list[VectorTransition]: ...


class Collector:
    """One vector step at a time: ``begin`` sends the policy to the device, ``finish`` waits and steps the environments.
    Or, with ``steps``, as many of them as one call of it makes.

    Between the two the host is free. A vector step counts one step of every environment, resets included, so that the
    count is known ahead. Record ``t`` is stored with the action chosen from it, so the newest record waits here.

    Args:
        policy: compiled policy. env: the environments. replay: where records go.
        num_envs: number of environments. seed: of the run.
        keep_latents: store the policy's latents with the records.
        counted: environment steps in a vector step (default ``num_envs``), over all processes.
        gather: collects a value from every process (``Group.gather``).
        steps: several vector steps in one call, with the same ``policy``, ``env`` and ``counted``.
    """

    def __init__(
        self,
        policy: Policy,
        env: Environments,
        replay: Replay,
        *,
        num_envs: int,
        seed: int,
        keep_latents: bool = False,
        counted: int | None = None,
        gather: Callable[[Any], list[Any]] = lambda value: [value],
        steps: Steps | None = None,
    ) -> None:
        self._policy, self._env, self._replay, self._steps = policy, env, replay, steps
        self._num_envs, self._seed, self._keep_latents = num_envs, seed, keep_latents
        self._counted, self._gather = counted or num_envs, gather
        self._key = jax.random.fold_in(jax.random.key(seed), _STREAM)
        self._records: Records | None = None
        self._carry = policy.initial_carry(num_envs)
        self._in_flight: Any = None  # actions that the device computes
        self._numbers = EpisodeNumbers(num_envs)
        self._episodes: dict[str, list[float]] = {}
        self.step = 0

    def start(self) -> None:
        """Begins the first episodes; not needed after ``load_state_dict``."""
        self._begin_episodes(self._seed)

    def begin(self, params: Params) -> None:
        """Dispatches the policy on the current records; returns before the device is ready."""
        assert self._records is not None and self._in_flight is None
        now = self._records
        if self._steps is not None:
            self._carry, self._in_flight = self._steps.begin(params, self._carry, now, self._key, self.step)
            return
        self._carry, action, latents = self._policy.act(
            params, self._carry, now.obs, now.is_first, self._key, np.uint32(self.step), greedy=False
        )
        self._in_flight = action, latents

    def finish(self) -> None:
        """Waits for the actions, steps the environments, stores the records the actions were chosen from."""
        assert self._records is not None and self._in_flight is not None
        chosen, self._in_flight = self._in_flight, None
        for transition in [self._step(*chosen)] if self._steps is None else self._steps.finish(chosen):
            self._replay.add(self._records, transition.action, transition.latents)
            final, self._records = transition.final, transition.records
            if final is not None:
                self._close(final)
            self.step += self._counted
            for _, episode in self._numbers.add(final, self._records):
                for name, value in episode.items():
                    self._episodes.setdefault(name, []).append(value)

    def _step(self, chosen: Array, latents: RSSMState) -> VectorTransition:
        """One vector step with the actions that the policy chose."""
        assert self._records is not None
        action = np.array(chosen)
        action[self._records.is_last] = 0
        kept = jax.tree.map(np.asarray, latents) if self._keep_latents else None
        return VectorTransition(action, kept, *self._env.step(action))

    def _close(self, records: Records) -> None:
        """Stores records from which nothing is chosen. They need no latents: a reset follows and masks them."""
        spec = self._env.spec.action
        self._replay.add(records, np.zeros((len(records), spec.record_size), spec.record_dtype))

    def peek_episodes(self) -> dict[str, float]:
        """Means over the episodes that ended since the last ``pop_episodes``, of all processes, as ``episode/<name>`` with
        the names of ``with_plain_names``; empty if none."""
        merged: dict[str, list[float]] = {}
        found = self._gather([self._episodes, sorted(self._numbers.events)])
        for episodes, _ in found:
            for name, values in episodes.items():
                merged.setdefault(name, []).extend(values)
        named = with_plain_names(merged, [name for _, events in found for name in events])
        return {f"episode/{name}": float(np.mean(values)) for name, values in named.items()}

    def pop_episodes(self) -> dict[str, float]:
        """As ``peek_episodes``; the next means start empty."""
        means, self._episodes = self.peek_episodes(), {}
        return means

    def state_dict(self) -> dict[str, Any]:
        """Everything that acting changes, as a tree of arrays and numbers; between ``finish`` and ``begin`` only."""
        assert self._records is not None and self._in_flight is None
        return {
            "step": self.step,
            "episodes": {name: list(values) for name, values in self._episodes.items()},
            "numbers": self._numbers.state_dict(),
            "carry": [np.asarray(leaf) for leaf in jax.tree.leaves(self._carry)],
            "records": dataclasses.asdict(self._records),
            "env": self._env.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> bool:
        """Continues from a saved state.

        Returns:
            Whether the environments continue too. Where they could not be saved, new episodes begin (``begin_anew``).
        """
        self.step = int(state["step"])
        self._episodes = {name: list(values) for name, values in state["episodes"].items()}
        if "numbers" in state:  # of this version
            self._numbers.load_state_dict(state["numbers"])
        structure = jax.tree.structure(self._carry)
        self._carry = jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in state["carry"]])
        if state["env"] is not None:
            self._records = self._env.set_state(state["env"])
            return True
        self._records = Records(**state["records"])
        self.begin_anew()
        return False

    @contextlib.contextmanager
    def lend(self) -> Iterator[Environments]:
        """The environments, for another use between two steps. Afterwards they are where they were if their state can be
        saved, and new episodes begin otherwise."""
        state = self._env.get_state()
        yield self._env
        if state is None:
            self.begin_anew()
        else:
            self._records = self._env.set_state(state)

    def begin_anew(self) -> None:
        """Stores the episodes under way as truncated (``is_last``, not ``is_terminal``) and begins new ones: the
        environments were lost, or used for something else."""
        assert self._records is not None and self._in_flight is None
        self._close(dataclasses.replace(self._records, is_last=np.ones_like(self._records.is_last)))
        self._begin_episodes(derived_seed(self._seed, self.step))

    def _begin_episodes(self, seed: int) -> None:
        self._records = self._env.reset(seed)
        self._numbers.add(self._records)
