"""Agents of every action kind, their updates compiled once a session, each on its first use."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from dreamjax.agents.dream_agent import make_agent
from dreamjax.types import NormaliserState

# Adam with a large epsilon moves almost in proportion to the gradient: rounding stays rounding.
OPTIMISER = {
    "kind": "adam", "eps": 0.1, "agc": 0.0, "warmup": 0, "world_model_lr": 0.01, "actor_lr": 0.02, "critic_lr": 0.03,
}  # fmt: skip
VARIANTS = {
    "explorer": {"imagination": {"last": 4}, "ensemble": {"size": 2, "units": 16, "layers": 1, "bonus": 0.5}},
    "exploring": {
        "imagination": {"last": 4},
        "ensemble": {"size": 2, "units": 16, "layers": 1, "rate": 0.1},
        "explore": {"steps": 100, "intrinsic": 0.5, "extrinsic": 0.25},
    },
    "even": {"imagination": {"last": 4}, "replay": {"sampler": "prioritised", "even": 0.5}},
    "plain": {"imagination": {"last": 4}, "actor": {"imitation": 0.5}},
    "ring": {
        "model": {"latent": "gaussian", "cell": "gru"},
        "imagination": {"use_ring": True, "capacity": 3 * 30},
    },
}


@pytest.fixture(scope="session")
def learner(tiny_config):
    """``learner("plain" | "ring", accumulate=1, precision="float32")``: its parts, a mid-training state, a batch."""

    @functools.cache
    def build(variant, accumulate=1, precision="float32"):
        config = small.vary(
            tiny_config,
            optimiser={**OPTIMISER, "accumulate": accumulate},
            parallel={"precision": precision},
            **VARIANTS[variant],
        )
        spec = small.EVERY_ACTION
        networks = small.networks(config, spec)
        agent = make_agent(config, spec)
        return SimpleNamespace(
            config=config,
            spec=spec,
            networks=networks,
            agent=agent,
            state=functools.partial(middle_of_training, agent, config),
            batch=small.random_batch(spec),
            update=jax.jit(agent.update, compiler_options=small.QUICK),
            update_world_model=jax.jit(agent.update_world_model, compiler_options=small.QUICK),
            update_exploring=jax.jit(agent.update_exploring, compiler_options=small.QUICK),
            update_actor_critic=jax.jit(agent.update_actor_critic, compiler_options=small.QUICK),
        )

    return build


def middle_of_training(agent, config):
    """A state in which nothing is zero and the slow critic is not the critic."""
    shapes = jax.eval_shape(agent.init, jax.random.key(0))
    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes.replace(key=None))
    return state.replace(
        step=jnp.int32(7),
        key=jax.random.key(3),
        params=small.noise_like(shapes.params, seed=1),
        slow_critic=small.noise_like(shapes.slow_critic, seed=2),
        retnorm=NormaliserState(low=jnp.float32(-0.02), high=jnp.float32(0.03), count=jnp.int32(2)),
        explorer=None if state.explorer is None else explorer_in_the_middle(shapes.explorer),
        novelty=None if state.novelty is None else NormaliserState(jnp.float32(0.01), jnp.float32(0.02), jnp.int32(2)),
    )


def explorer_in_the_middle(shapes):
    scale = NormaliserState(low=jnp.float32(-0.02), high=jnp.float32(0.03), count=jnp.int32(2))
    novelty = NormaliserState(jnp.float32(0.01), jnp.float32(0.02), jnp.int32(2))
    return shapes.replace(slow_critic=small.noise_like(shapes.slow_critic, seed=3), retnorm=scale, novelty=novelty)
