"""Variations of spaces and of the API: each is encoded, acted on, decoded and stepped. Nothing is updated.

The values of an observation say where they came from, so that the record can be compared with one made by NumPy.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium import spaces

from dreamjax.agents.agent import make_agent
from dreamjax.config import EnvConfig
from dreamjax.envs.checks import EnvWarning
from dreamjax.envs.make import make_env_from
from tests.helpers.configs import make_tiny_config

STEPS, NUM_ENVS = 3, 2


class Varied(gymnasium.Env):
    """``native(step)`` is the observation of a step, ``change`` changes what a step returns; three steps an episode."""

    def __init__(
        self, space: spaces.Space, action: spaces.Space, native: Callable[[int], Any], change: Callable[[tuple], tuple]
    ) -> None:
        self.observation_space, self.action_space, self.native, self.change = space, action, native, change
        self.t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return self.native(0), {}

    def step(self, action: Any) -> tuple:
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.t += 1
        return self.change((self.native(self.t), 1.0, self.t == STEPS, False, {}))


def unchanged(results: tuple) -> tuple:
    return results


class Case(NamedTuple):
    """``entries(step)`` are the records of one environment, by name."""

    name: str
    space: spaces.Space
    native: Callable[[int], Any]
    entries: Callable[[int], dict[str, np.ndarray]]
    action: spaces.Space = spaces.Discrete(3)
    change: Callable[[tuple], tuple] = unchanged
    config: dict[str, Any] = {}  # noqa: RUF012


# Arrays: every dtype in every layout. Channels are told apart by their values, frames too.

RANGES = {  # low, high, dtype, kind
    "byte": (0, 255, "uint8", "image"),
    "bit": (0, 1, "uint8", "grid"),
    "code": (0, 20, "int64", "grid"),
    "unit": (0, 1, "float32", "image"),
    "signed": (-1, 1, "float64", "image"),
    "pixels": (0, 255, "float32", "image"),
    "free": (-np.inf, np.inf, "float32", "vector"),
}
LAYOUTS = {  # the native shape as letters, the axes that make (H, W, C)
    "hwc": ((9, 7, 3), (0, 1, 2)),
    "chw": ((3, 9, 7), (1, 2, 0)),
    "shwc": ((2, 9, 7, 3), (1, 2, 0, 3)),
    "schw": ((2, 3, 9, 7), (2, 3, 0, 1)),
    "shw": ((4, 9, 7), (1, 2, 0)),
    "line": ((1, 40), ()),
}


def array_case(kind: str, layout: str) -> Case:
    low, high, dtype, wanted = RANGES[kind]
    shape, axes = LAYOUTS[layout]
    free = np.isinf(low)
    flat = wanted != "grid" and (layout == "line" or free)  # a vector

    def native(step: int) -> np.ndarray:
        numbers = np.arange(np.prod(shape)).reshape(shape) + step
        if free:
            return (numbers / 10).astype(dtype)
        top = high - low
        return (low + (numbers % (top + 1) if np.dtype(dtype).kind in "iu" else numbers % 50 / 50 * top)).astype(dtype)

    def entries(step: int) -> dict[str, np.ndarray]:
        array = native(step).astype(np.float64)
        if flat:
            return {"observation": array.reshape(-1)}
        if layout == "line":  # integers with few values are a grid of one row
            return {"observation": array[None] - low}
        image = array.transpose(axes).reshape(9, 7, -1)
        if wanted == "grid":
            return {"observation": image.transpose(2, 0, 1) - low}
        return {"observation": image if dtype == "uint8" else (image - low) / (high - low)}

    return Case(f"{kind}-{layout}", spaces.Box(low, high, shape, np.dtype(dtype)), native, entries)


ARRAYS = [array_case(kind, layout) for kind, layout in itertools.product(RANGES, LAYOUTS)]

# Other observations.

VECTOR = spaces.Box(-9, 9, (2,), np.float32)


def vector(step: int) -> np.ndarray:
    return np.array([step, -step], np.float32)


def only(native: Callable[[int], Any], **entries: Callable[[int], Any]) -> tuple[Callable, Callable]:
    return native, lambda step: {name.replace("__", "/"): np.asarray(value(step)) for name, value in entries.items()}


OTHERS = [
    Case("discrete", spaces.Discrete(5, start=-2), *only(lambda t: t - 2, observation=lambda t: [t])),
    Case("multidiscrete", spaces.MultiDiscrete([5, 6], start=[1, 2]), *only(
        lambda t: np.array([1 + t, 2]), observation=lambda t: [t, 0])),
    Case("board", spaces.MultiDiscrete(np.full((2, 2), 4)), *only(
        lambda t: np.full((2, 2), t), observation=lambda t: [t] * 4)),
    Case("multibinary", spaces.MultiBinary((2, 2)), *only(
        lambda t: np.eye(2, dtype=np.int8), observation=lambda t: [1, 0, 0, 1])),
    Case("scalar", spaces.Box(-9, 9, (), np.float32), *only(lambda t: np.float32(t), observation=lambda t: [t])),
    Case("nested", spaces.Dict(a=spaces.Dict(b=VECTOR), c=spaces.Discrete(4)), *only(
        lambda t: {"a": {"b": vector(t)}, "c": t}, a__b=vector, c=lambda t: [t])),
    Case("tuple", spaces.Tuple((VECTOR, spaces.Discrete(4))), *only(
        lambda t: (vector(t), t), **{"0": vector, "1": lambda t: [t]})),
    Case("text", spaces.Dict(a=VECTOR, b=spaces.Text(4)), *only(lambda t: {"a": vector(t), "b": "x"}, a=vector),
         config={"ignore": "b"}),
    Case("graph", spaces.Dict(a=VECTOR, b=spaces.Sequence(VECTOR)), *only(
        lambda t: {"a": vector(t), "b": (vector(t),) * t}, a=vector), config={"keys": "a"}),
    Case("mask", spaces.Dict(a=VECTOR, action_mask=spaces.MultiBinary(3)), *only(
        lambda t: {"a": vector(t), "action_mask": [1, 0, 1]}, a=vector, action_mask=lambda t: [True, False, True])),
    Case("set-grid", spaces.Box(0, 255, (5, 5, 2), np.uint8), *only(
        lambda t: np.full((5, 5, 2), t, np.uint8), observation=lambda t: np.full((2, 5, 5), t)),
        config={"obs": {"observation": {"kind": "grid", "classes": 5}}}),
    Case("set-image", spaces.Box(-np.inf, np.inf, (6, 6), np.float32), *only(
        lambda t: np.full((6, 6), t, np.float32), observation=lambda t: np.full((6, 6, 1), t / 4)),
        config={"obs": {"obs.*": {"kind": "image", "low": 0, "high": 4}}}),
    Case("set-layout", spaces.Box(0, 255, (6, 8, 8), np.uint8), *only(
        lambda t: np.full((6, 8, 8), t, np.uint8), observation=lambda t: np.full((6, 8, 8), t)),
        config={"layout": "channels_last"}),
]  # fmt: skip

# Actions.

ACTIONS = {
    "start": spaces.Discrete(3, start=5),
    "multidiscrete": spaces.MultiDiscrete([2, 4]),
    "table": spaces.MultiDiscrete([[2, 3], [4, 2]]),
    "buttons": spaces.MultiBinary(4),
    "box": spaces.Box(np.array([-2, 0], np.float32), np.array([2, 9], np.float32)),
    "matrix": spaces.Box(-1, 1, (2, 2), np.float64),
    "whole": spaces.Box(0, 9, (2,), np.int32),
    "free": spaces.Box(-np.inf, np.inf, (2,), np.float32),
    "half": spaces.Box(0, np.inf, (1,), np.float32),
    "dict": spaces.Dict(go=spaces.Discrete(3), push=spaces.Box(-1, 1, (2,), np.float32)),
    "tuple": spaces.Tuple((spaces.Discrete(3), spaces.MultiBinary(2))),
    "one": spaces.Discrete(1),
}
PLAIN = only(vector, observation=vector)
ACTED = [Case(f"action-{name}", VECTOR, *PLAIN, action=space) for name, space in ACTIONS.items()]

# What a step may return beside what the API says.


def with_value(place: int, value: Any) -> Callable[[tuple], tuple]:
    return lambda results: (*results[:place], value, *results[place + 1 :])


CHANGES: dict[str, Callable[[tuple], tuple]] = {
    "reward-array": with_value(1, np.array([1.0])),
    "reward-int": with_value(1, 1),
    "reward-bool": with_value(1, True),
    "reward-0d": with_value(1, np.array(1, np.float32)),
    "reward-jax": with_value(1, jax.numpy.float32(1)),
    "observation-int": lambda results: (results[0].astype(np.int64), *results[1:]),
    "observation-list": lambda results: (results[0].tolist(), *results[1:]),
    "observation-jax": lambda results: (jax.numpy.asarray(results[0]), *results[1:]),
    "ends-numpy": lambda results: (*results[:2], np.bool_(results[2]), np.array([False]), results[4]),
    "ends-int": lambda results: (*results[:2], int(results[2]), 0, results[4]),
    "info-any": with_value(4, {"a": None, "b": [1], "c": {"d": 2}, "e": np.zeros((2, 3)), "f": "text"}),
    "info-mask": with_value(4, {"action_mask": np.ones(3, np.int8)}),
}
CHANGED = [Case(name, VECTOR, *PLAIN, change=change) for name, change in CHANGES.items()]

CASES = ARRAYS + OTHERS + ACTED + CHANGED


def test_there_are_sixty_and_more() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_encode_act_decode_step(case: Case) -> None:
    factory = functools.partial(Varied, case.space, case.action, case.native, case.change)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EnvWarning)  # of layouts, which test_layout reads
        env = make_env_from(factory, NUM_ENVS, seed=0, config=EnvConfig(**case.config))
        agent = make_agent(make_tiny_config(), env.spec)
        shapes = jax.eval_shape(agent.init, jax.random.key(0))  # of the whole agent, decoders too
        rng = np.random.default_rng(0)
        params = jax.tree.map(lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(leaf.dtype), shapes.params)
        records = env.reset()
        keys = jax.random.split(jax.random.key(0), NUM_ENVS)
        # Operation by operation, not compiled as a whole; once is enough.
        _, action, _ = agent.policy(
            params, agent.initial_carry(NUM_ENVS), records.obs, records.is_first, keys, greedy=False
        )
        for step in range(STEPS + 2):
            for name, wanted in case.entries(step % (STEPS + 1)).items():
                for row in records.obs[name]:
                    np.testing.assert_allclose(row, wanted, rtol=1e-6, atol=1e-6)
            assert records.reward.tolist() == [float(step % (STEPS + 1) > 0)] * NUM_ENVS
            _, records = env.step(np.asarray(action))  # the environment asserts that it is of its space
