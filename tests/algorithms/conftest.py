"""Agents of every action kind, their updates compiled once a session, each on its first use."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.agents.agent import make_agent, make_learner
from dreamjax.types import NormalizerState
from tests.helpers.batches import EVERY_ACTION, random_batch
from tests.helpers.configs import vary
from tests.helpers.parameters import noise_like
from tests.helpers.xla import QUICK

# Adam with a large epsilon moves almost in proportion to the gradient: rounding stays rounding.
OPTIMIZER = {
    "kind": "adam", "eps": 0.1, "agc": 0.0, "warmup": 0, "world_model_lr": 0.01, "actor_lr": 0.02, "critic_lr": 0.03,
}  # fmt: skip
VARIANTS = {
    "ensemble": {"imagination": {"last": 4}, "ensemble": {"size": 2, "units": 16, "layers": 1}},
    "exploring": {
        "imagination": {"last": 4},
        "ensemble": {"size": 2, "units": 16, "layers": 1, "rate": 0.1},
        "explore": {"steps": 100, "intrinsic": 0.5, "extrinsic": 0.25},
    },
    "even": {"imagination": {"last": 4}, "replay": {"sampler": "prioritized", "uniform_fraction": 0.5}},
    "plain": {"imagination": {"last": 4}},
    "replayed": {
        "imagination": {"last": 4},
        "replay": {"sampler": "prioritized", "uniform_fraction": 0.5},
        "critic": {"replay_gradient": True},
    },
    "ring": {
        "model": {"latent": "gaussian", "cell": "gru"},
        "imagination": {"use_ring": True, "capacity": 3 * 30},
    },
}


@pytest.fixture(autouse=True)
def every_key_once(no_key_twice):
    """For every test here, so that nothing is traced both with the check and without."""


@pytest.fixture(scope="session")
def learner(tiny_config):
    """``learner("plain" | "ring", accumulate=1, precision="float32")``: its parts, a mid-training state, a batch."""

    @functools.cache
    def build(variant, accumulate=1, precision="float32"):
        config = vary(
            tiny_config,
            optimizer={**OPTIMIZER, "accumulate": accumulate},
            parallel={"precision": precision},
            **VARIANTS[variant],
        )
        spec = EVERY_ACTION
        agent = make_agent(config, spec)
        learner = make_learner(agent.networks, config, spec)

        def compiled(*phases):
            return jax.jit(functools.partial(agent.update, phases=phases), compiler_options=QUICK)

        return SimpleNamespace(
            config=config,
            spec=spec,
            networks=agent.networks,
            learner=learner,
            agent=agent,
            state=functools.partial(middle_of_training, agent, config),
            batch=random_batch(spec),
            update=jax.jit(agent.update, compiler_options=QUICK),
            update_world_model=compiled("world_model"),
            update_exploring=compiled("world_model", "actor_critic", "explorer"),
            update_actor_critic=compiled("actor_critic"),
        )

    return build


def middle_of_training(agent, config):
    """A state in which nothing is zero and the slow critic is not the critic."""
    shapes = jax.eval_shape(agent.init, jax.random.key(0))
    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes.replace(key=None))
    return state.replace(
        step=jnp.int32(7),
        key=jax.random.key(3),
        params=noise_like(shapes.params, seed=1),
        slow_critic=noise_like(shapes.slow_critic, seed=2),
        retnorm=NormalizerState(low=jnp.float32(-0.02), high=jnp.float32(0.03), count=jnp.int32(2)),
        explorer=None if state.explorer is None else explorer_in_the_middle(shapes.explorer),
    )


def explorer_in_the_middle(shapes):
    scale = NormalizerState(low=jnp.float32(-0.02), high=jnp.float32(0.03), count=jnp.int32(2))
    novelty = NormalizerState(jnp.float32(0.01), jnp.float32(0.02), jnp.int32(2))
    return shapes.replace(slow_critic=noise_like(shapes.slow_critic, seed=3), retnorm=scale, novelty=novelty)
