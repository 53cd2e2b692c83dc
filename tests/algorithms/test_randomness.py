"""No random number is drawn twice: each key that an update consumes, by step, row and micro-batch, is its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.agents.agent import make_agent
from dreamjax.algorithms import actions
from dreamjax.algorithms.randomness import row_keys, step_keys
from dreamjax.buffers import imagination_buffer
from dreamjax.models import latents
from tests.helpers.batches import EVERY_ACTION, random_batch
from tests.helpers.configs import vary
from tests.helpers.parameters import noise_like
from tests.helpers.xla import QUICK


def test_the_checker_of_reused_keys_is_on():
    """Contract 31: every test of this folder runs under it; this is the canary."""
    key = jax.random.key(0)
    jax.random.normal(key)
    with pytest.raises(jax.errors.KeyReuseError):
        jax.random.normal(key)


def test_rows_and_steps_have_keys_of_their_own():
    """Contract 28: a row's key depends on the key and the row's index, a step's on the row's key and the step."""
    rows = jnp.array([3, 0, 7])
    keys = row_keys(jax.random.key(0), rows)
    for row, key in zip(rows, keys, strict=True):
        expected = jax.random.fold_in(jax.random.key(0), row)
        np.testing.assert_array_equal(jax.random.key_data(key), jax.random.key_data(expected))
    steps = np.stack([jax.random.key_data(step_keys(keys, jnp.int32(t))) for t in range(4)])
    assert len(np.unique(steps.reshape(12, -1), axis=0)) == 12
    np.testing.assert_array_equal(
        steps[2, 1], jax.random.key_data(jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 0), 2))
    )


@pytest.fixture
def drawn(monkeypatch):
    """Keys as they are consumed by compiled programs, whoever consumes them."""
    seen = []

    def spy(module, name, position):
        original = getattr(module, name)

        def wrapped(*args, **kwargs):
            jax.debug.callback(lambda data: seen.append(np.asarray(data)), jax.random.key_data(args[position]))
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, wrapped)

    for name in ("row_uniform", "row_normal"):
        spy(latents, name, 0)
        spy(actions, name, 0)
    spy(imagination_buffer, "draw", 1)

    def collect():
        jax.effects_barrier()
        return np.concatenate(seen)

    return collect


def test_no_key_is_used_twice(tiny_config, drawn):
    """Contract 31: in two updates of two micro-batches each, over rows, time steps, posterior, action parts, prior and
    the ring's draws."""
    config = vary(
        tiny_config,
        batch_length=3,
        horizon=2,
        optimizer={"accumulate": 2},
        imagination={"use_ring": True, "capacity": 48},
    )
    agent = make_agent(config, EVERY_ACTION)
    batch = random_batch(EVERY_ACTION, length=3)
    shapes = jax.eval_shape(agent.init, jax.random.key(0))
    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes.replace(key=None))
    state = state.replace(key=jax.random.key(0), params=noise_like(shapes.params))
    update = jax.jit(agent.update, compiler_options=QUICK)
    for step in (0, 1):
        update(state.replace(step=np.int32(step)), batch)
    keys = drawn()
    # an update: 4 rows x 3 steps (posterior), 12 starts x 2 steps x (3 parts and the prior), 12 rollouts from the ring
    assert len(np.unique(keys, axis=0)) == 2 * (12 + 12 * 2 * 4 + 12)
    # what draws the posterior is seen a second time, where the way back computes a step again
    assert len(keys) == 2 * (12 + 12 * 2 * 4 + 12) + 2 * 12


def test_no_key_is_used_twice_by_the_policy(tiny_config, drawn):
    """Contract 31: the latent and each part of the action have keys of their own, for every environment."""
    agent = make_agent(tiny_config, EVERY_ACTION)
    shapes = jax.eval_shape(agent.init, jax.random.key(0)).params
    params = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    obs = {"vector": np.zeros((3, 5), np.float32), "action_mask": np.ones((3, 3), np.int8)}
    keys = jax.random.split(jax.random.key(0), 3)
    policy = jax.jit(agent.policy, static_argnames="greedy", compiler_options=QUICK)
    policy(params, agent.initial_carry(3), obs, np.ones(3, bool), keys, greedy=False)
    assert len(np.unique(drawn(), axis=0)) == 3 * (1 + 3)
