"""Several steps of all environments in one compiled call, where the environments are the compiled Tetris engine."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.config import ConfigError
from dreamjax.envs.adapter import Adapter
from dreamjax.envs.tetris.gym import TetrisVectorEnv
from dreamjax.training.collection.collector import Policy, VectorTransition, acting_shapes
from dreamjax.types import Array, Params, Records, RSSMState


class InFlight(NamedTuple):
    """Results of a call, still on the device: last states ``[N, n]``, and for each of ``K`` steps ``[K, N, ...]`` the
    engine's packed outputs, action records (0 where nothing was chosen), and latents where they are kept."""

    words: Array
    packed: Array
    action: Array
    latents: RSSMState | None


def engine_of(env: Adapter, num_steps: int) -> TetrisVectorEnv:
    """The compiled Tetris engine of these environments.

    Raises:
        ConfigError: they are something else, or the engine in a wrapper: a wrapper's own step would be passed over.
    """
    if type(env.env) is not TetrisVectorEnv:
        allowed = f"must be 1 with {env.name}: only the compiled Tetris engine is stepped within a call"
        raise ConfigError(f"schedule.steps_per_call={num_steps} is not allowed: {allowed}")
    return env.env


class CompiledSteps:
    """A scan over ``num_steps`` of: the policy acts, every game steps or restarts, the next observation is made.

    Row ``i`` of step ``t`` of a call that begins at ``step`` acts with ``fold_in(fold_in(key, step + t * counted), i)``, as
    it would step by step. The parameters are those at the beginning of the call.

    Args:
        policy: compiled. env: the environments. num_steps: K, at least 1.
        counted: environment steps in a step of all environments, over all processes.
        keep_latents: return the policy's latents.

    Attributes:
        scan: the compiled program; see ``shapes`` for its arguments.

    Raises:
        ConfigError: as ``engine_of``.
    """

    def __init__(
        self, policy: Policy, env: Adapter, *, num_steps: int, counted: int, keep_latents: bool = False
    ) -> None:
        engine = engine_of(env, num_steps)
        self._policy, self._env, self._engine = policy, env, engine
        self._keep_latents = keep_latents
        spec, flat = env.spec, bool(engine.single_action_space.shape)

        def scan(
            params: Params, carry: Any, obs: Any, is_first: Array, key: Array, step: Array, words: Array, is_last: Array
        ) -> tuple[Any, InFlight]:
            def body(state: Any, step: Array) -> Any:
                carry, obs, is_first, words, is_last = state
                carry, action, latents = policy.act(params, carry, obs, is_first, key, step, greedy=False)
                action = jnp.where(is_last[:, None], 0, action)
                words, packed, observed, over = engine.pure_step(words, action if flat else action[:, 0])
                obs = {name: observed[name].astype(entry.dtype) for name, entry in spec.obs.items()}
                outputs = packed, action, latents if keep_latents else None
                return (carry, obs, is_last, words, over), outputs

            steps = step + np.uint32(counted) * jnp.arange(num_steps, dtype=jnp.uint32)
            last, outputs = jax.lax.scan(body, (carry, obs, is_first, words, is_last), steps)
            return last[0], InFlight(last[3], *outputs)

        self.scan: Any = jax.jit(scan)

    def shapes(self, params: Any) -> tuple[Any, ...]:
        """Shapes of the arguments of ``scan``; ``params`` are shapes too."""
        words, num_envs = self._engine.words, self._env.num_envs
        last = jax.ShapeDtypeStruct(words.shape, words.dtype), jax.ShapeDtypeStruct((num_envs,), bool)
        return (*acting_shapes(self._policy, params, self._env.spec, num_envs), *last)

    def begin(self, params: Params, carry: Any, records: Records, key: Array, step: int) -> tuple[Any, InFlight]:
        """Dispatches a call that acts from ``records``; returns the next carry before the device is ready."""
        obs, first, last = records.obs, records.is_first, records.is_last
        return self.scan(params, carry, obs, first, key, np.uint32(step), self._engine.words, last)

    def finish(self, in_flight: InFlight) -> list[VectorTransition]:
        """Waits; brings the environments to where the call left the games; returns what happened, step by step."""
        action = np.array(in_flight.action)
        latents = jax.tree.map(np.asarray, in_flight.latents)
        arrivals = self._env.follow(self._engine.follow(in_flight.words, in_flight.packed))
        return [
            VectorTransition(action[t], jax.tree.map(lambda x: x[t], latents), *arrival)  # noqa: B023
            for t, arrival in enumerate(arrivals)
        ]
