"""Several steps in one call against the same steps one by one: what is stored, chosen, counted and saved."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.config import ConfigError, EnvConfig
from dreamjax.envs.adapter import Adapter
from dreamjax.envs.make import make_env
from dreamjax.training.collection.collector import Collector, Policy, make_policy
from dreamjax.training.collection.compiled_collector import CompiledSteps, engine_of
from dreamjax.types import MASK_KEY, RSSMState
from tests.helpers.runs import assert_same
from tests.helpers.xla import QUICK

NUM_ENVS, COUNTED, SEED = 3, 6, 5  # as of two processes
MODES = ("direct", "locked_position")


class Stored:
    """A replay that remembers everything it is told."""

    def __init__(self) -> None:
        self.added: list[Any] = []

    def add(self, records: Any, action: Any, latents: Any = None) -> None:
        self.added.append(jax.tree.map(np.copy, (dataclasses.asdict(records), action, latents)))


def drawing_policy(mode: str) -> Policy:
    """Legal actions by the keys, the parameters, the time since the reset and all that is observed."""

    def policy_fn(params: Any, carry: Any, obs: Any, is_first: Any, keys: Any, *, greedy: bool) -> Any:
        carry = jnp.where(is_first, 0.0, carry + params)
        seen = sum(jnp.sum(jnp.reshape(x, (NUM_ENVS, -1)).astype(jnp.float32), 1) for x in obs.values())
        shift = (carry + seen).astype(jnp.int32)
        size = 200 if mode == "locked_position" else 8
        logits = jnp.where(obs[MASK_KEY], 0.0, -jnp.inf) if MASK_KEY in obs else jnp.zeros((NUM_ENVS, size))
        drawn = jax.vmap(jax.random.categorical)(keys, logits).astype(jnp.int32)
        action = drawn[:, None] if mode == "locked_position" else ((drawn + shift)[:, None] >> jnp.arange(8)[None]) & 1
        return carry, action, RSSMState(deter=(carry + seen)[:, None], stoch=carry[:, None, None])

    return make_policy(policy_fn, lambda num_envs: jnp.zeros(num_envs))


def environments(mode: str) -> Adapter:
    kwargs = {"max_episode_length": 4, "piece_reward": 0.1}
    return make_env(EnvConfig(action_mode=mode, kwargs=kwargs), NUM_ENVS, seed=SEED)


def collector_of(
    mode: str, num_steps: int, policy: Policy, *, keep_latents: bool = False, scan: Any = None
) -> tuple[Collector, Stored]:
    """``scan``: a compiled one of the same sizes."""
    env, replay = environments(mode), Stored()
    steps = None
    if num_steps > 1:
        steps = CompiledSteps(policy, env, num_steps=num_steps, counted=COUNTED, keep_latents=keep_latents)
        steps.scan = scan or jax.jit(steps.scan, compiler_options=QUICK)
    made = Collector(
        policy, env, replay, num_envs=NUM_ENVS, seed=SEED, keep_latents=keep_latents, counted=COUNTED, steps=steps
    )
    return made, replay


def collect(collector: Collector, calls: int) -> None:
    for _ in range(calls):
        collector.begin(jnp.float32(1.0))
        collector.finish()


@pytest.mark.parametrize("mode", MODES)
def test_a_call_is_its_steps_one_by_one(mode: str) -> None:
    """Episodes of four steps end and begin within a call of six, and on its borders; then a saved one goes on."""
    policy, keep = drawing_policy(mode), mode == "locked_position"
    single, expected = collector_of(mode, 1, policy, keep_latents=keep)
    single.start()
    collect(single, 18)
    ends = [entry[0]["is_last"] for entry in expected.added]
    assert np.sum(ends, 0).tolist() == [3, 3, 3] and np.stack([entry[1] for entry in expected.added]).any()

    several, stored = collector_of(mode, 6, policy, keep_latents=keep)
    several.start()
    collect(several, 2)
    state = several.state_dict()
    collect(several, 1)
    assert_same(stored.added, expected.added)
    assert (stored.added[0][2] is not None) is keep
    assert_same(several.state_dict(), single.state_dict())
    assert several.step == 18 * COUNTED
    assert several.pop_episodes() == single.pop_episodes() != {}

    assert isinstance(several._steps, CompiledSteps)
    resumed, rest = collector_of(mode, 6, policy, keep_latents=keep, scan=several._steps.scan)
    assert resumed.load_state_dict(state)
    collect(resumed, 1)
    assert_same(rest.added, expected.added[12:])
    assert_same(resumed.state_dict(), several.state_dict() | {"episodes": resumed.state_dict()["episodes"]})


def test_what_is_compiled_ahead_is_what_is_called() -> None:
    env, policy = environments("locked_position"), drawing_policy("locked_position")
    steps = CompiledSteps(policy, env, num_steps=2, counted=COUNTED, keep_latents=True)
    records = env.reset(SEED)
    called: list[Any] = []
    steps.scan = lambda *args: called.extend(args)
    steps.begin(jnp.float32(1.0), policy.initial_carry(NUM_ENVS), records, jax.random.key(0), 7)
    shaped = steps.shapes(jax.ShapeDtypeStruct((), jnp.float32))
    told = jax.tree.map(lambda x: (x.shape, str(x.dtype)), (shaped, jax.eval_shape(lambda *x: x, *called)))
    assert told[0] == told[1]


def test_what_the_engine_does_not_step_itself_is_refused() -> None:
    class Wrapped(gymnasium.vector.VectorWrapper):
        """Passes everything on."""

    inner = environments("direct")
    with pytest.raises(ConfigError, match=r"schedule.steps_per_call=4 is not allowed: must be 1 with environment"):
        engine_of(Adapter(Wrapped(inner.env)), 4)
    assert engine_of(inner, 4) is inner.env
    cart = make_env(EnvConfig(id="CartPole-v1"), 1, seed=0)
    with pytest.raises(ConfigError, match="must be 1 with CartPole-v1"):
        CompiledSteps(drawing_policy("direct"), cart, num_steps=4, counted=1)
