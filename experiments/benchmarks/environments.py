"""How fast Tetris runs: batches in a compiled scan, the Gymnasium environments, and the same game of others.

    taskset -c 0,1 python -m experiments.benchmark_env [--json=FILE] [--repeats=7]

Every figure is the median over repetitions after a warm-up, with the least and the greatest; play is random, the random
actions are drawn inside of what is timed, and games that end start again. `tetris-gymnasium` is measured where
`make difftest` has put it, `jumanji` where it is installed.
"""

import argparse
import functools
import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

import dreamjax  # noqa: F401  (registers the environments)
from dreamjax.envs.tetris import engine
from dreamjax.envs.tetris.gym import make_config
from dreamjax.envs.tetris.rules import TetrisConfig
from experiments import difftest

BATCHES = (256, 1024, 4096)
MODES = ("direct", "locked_position")


def _measured(name: str, play: Callable[[int], Any], num_steps: int, repeats: int, **labels: Any) -> dict[str, Any]:
    """Runs `play(repetition)`, which makes `num_steps` steps, once to warm up and then `repeats` times."""
    play(0)
    rates = []
    for repetition in range(1, repeats + 1):
        began = time.perf_counter()
        play(repetition)
        rates.append(num_steps / (time.perf_counter() - began))
    return {
        "name": name,
        **labels,
        "steps_per_s": statistics.median(rates),
        "least": min(rates),
        "greatest": max(rates),
        "repeats": repeats,
    }


def random_rollout(config: TetrisConfig, num_envs: int, num_steps: int, *, observed: bool) -> Any:
    """A compiled function `(states, key) -> (states, checksum)` of random play, and the first states.

    Args:
      observed: build the observation of every step; otherwise, in `locked_position`, only its mask.
    """

    def actions(key: jax.Array) -> jax.Array:
        if config.action_mode == "locked_position":
            words = jax.random.bits(key, (num_envs,), jnp.uint32)
            return (words % jnp.uint32(config.height * config.width)).astype(jnp.int32)
        words = jax.random.bits(key, (num_envs, 1), jnp.uint8)
        return (words >> jnp.arange(8, dtype=jnp.uint8)[None, :]) & jnp.uint8(1)

    def looked_at(state: Any) -> jax.Array:
        # A sum over everything that is asked for, so that nothing of it can be left out.
        seen: Any = ()
        if observed:
            seen = engine.observe(config, state)
        elif config.action_mode == "locked_position":
            seen = engine.action_mask(config, state)
        return sum((jnp.sum(leaf, dtype=jnp.float32) for leaf in jax.tree.leaves(seen)), jnp.float32(0))

    def body(states: Any, key: jax.Array) -> Any:
        states, output = jax.vmap(functools.partial(engine.auto_step, config))(states, actions(key))
        return states, jnp.sum(output.reward) + jnp.sum(jax.vmap(looked_at)(states))

    def rollout(states: Any, key: jax.Array) -> Any:
        states, sums = jax.lax.scan(body, states, jax.random.split(key, num_steps))
        return states, jnp.sum(sums)

    keys = jax.random.split(jax.random.key(0), num_envs)
    return jax.jit(rollout), jax.jit(jax.vmap(functools.partial(engine.reset, config)))(keys)


def _compiled(mode: str, num_envs: int, repeats: int, *, observed: bool) -> dict[str, Any]:
    num_steps = max(50, 400_000 // num_envs)
    rollout, states = random_rollout(make_config({"action_mode": mode}), num_envs, num_steps, observed=observed)

    def play(repetition: int) -> None:
        nonlocal states
        states, total = rollout(states, jax.random.key(repetition))
        total.block_until_ready()

    seen = "with its observation" if observed else "with its mask" if mode == "locked_position" else "rules alone"
    name = f"{mode}, compiled, {seen}"
    return _measured(name, play, num_envs * num_steps, repeats, num_envs=num_envs)


def _gymnasium(name: str, make: Callable[[], Any], repeats: int, num_steps: int = 1000) -> dict[str, Any]:
    env = make()
    rng = np.random.default_rng(0)
    actions = [_random_action(env.action_space, rng) for _ in range(num_steps)]
    env.reset(seed=1)

    def play(_: int) -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return _measured(name, play, num_steps, repeats, num_envs=1)


def _random_action(space: Any, rng: np.random.Generator) -> Any:
    return rng.integers(0, 2, space.shape, np.int8) if space.shape else int(rng.integers(space.n))


def _vector(mode: str, num_envs: int, repeats: int, num_steps: int = 100) -> dict[str, Any]:
    env = gymnasium.make_vec("dreamjax/Tetris-v0", num_envs=num_envs, action_mode=mode)
    env.reset(seed=0)
    actions = [env.action_space.sample() for _ in range(num_steps)]

    def play(_: int) -> None:
        for action in actions:
            env.step(action)

    return _measured(f"{mode}, gymnasium.make_vec", play, num_envs * num_steps, repeats, num_envs=num_envs)


def _jumanji(num_envs: int, repeats: int) -> dict[str, Any]:
    """Jumanji's Tetris (placements), by the same scan of random legal actions with autoreset."""
    import jumanji
    from jumanji.wrappers import VmapAutoResetWrapper

    env = VmapAutoResetWrapper(jumanji.make("Tetris-v0"))
    num_steps = max(20, 20_000 // num_envs)

    def body(carry: Any, key: jax.Array) -> Any:
        state, timestep = carry
        mask = timestep.observation.action_mask
        flat = jax.random.categorical(key, jnp.where(mask.reshape(num_envs, -1), 0.0, -jnp.inf))
        action = jnp.stack([flat // mask.shape[-1], flat % mask.shape[-1]], axis=-1)
        state, timestep = env.step(state, action)
        return (state, timestep), jnp.sum(timestep.reward)

    rollout = jax.jit(lambda carry, key: jax.lax.scan(body, carry, jax.random.split(key, num_steps)))
    carry = jax.jit(env.reset)(jax.random.split(jax.random.key(0), num_envs))

    def play(repetition: int) -> None:
        nonlocal carry
        carry, rewards = rollout(carry, jax.random.key(repetition))
        rewards.block_until_ready()

    return _measured("jumanji, placements, compiled", play, num_envs * num_steps, repeats, num_envs=num_envs)


def measure_env(*, repeats: int = 7) -> list[dict[str, Any]]:
    """All figures: `name`, `num_envs`, `steps_per_s` (median), `least`, `greatest`, `repeats`."""
    return list(_measurements(repeats))


def _measurements(repeats: int) -> Iterator[dict[str, Any]]:
    for mode in MODES:
        for num_envs in BATCHES:
            yield _compiled(mode, num_envs, repeats, observed=False)
        yield _compiled(mode, 1024, repeats, observed=True)
        for num_envs in (16, 256):
            yield _vector(mode, num_envs, repeats)
    for mode in MODES:
        make = functools.partial(gymnasium.make, "dreamjax/Tetris-v0", action_mode=mode)
        yield _gymnasium(f"{mode}, gymnasium.make", make, repeats)
    if (difftest.DIRECTORY / "tetris_gymnasium").exists():
        yield _gymnasium("tetris-gymnasium 0.3.1", difftest.load_package(), repeats)
    if importlib.util.find_spec("jumanji"):
        yield _jumanji(1024, repeats)


def main(argv: list[str] | None = None) -> int:
    """Measures, prints a table, and writes JSON where asked; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmark_env", description=__doc__)
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument("--repeats", type=int, default=7, help="repetitions of each measurement (7)")
    options = parser.parse_args(argv)
    if options.repeats < 1:
        parser.error(f"--repeats={options.repeats}: must be at least 1")
    found = []
    for row in _measurements(options.repeats):
        found.append(row)
        spread = f"{row['least']:>11,.0f} .. {row['greatest']:,.0f}"
        print(f"{row['name']:<50} x{row['num_envs']:<5} {row['steps_per_s']:>12,.0f} steps/s  {spread}", flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(found, file, indent=1)
    return 0
