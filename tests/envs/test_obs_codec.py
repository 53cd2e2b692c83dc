"""Every kind of observation space: its entry, its values, and messages about bad observations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from dreamjax.envs.checks import EnvError
from dreamjax.envs.obs_codec import ObsCodec
from dreamjax.types import ObsSpec

N = 5


def batch(space: spaces.Space, seed: int = 0) -> Any:
    batched = batch_space(space, N)
    batched.seed(seed)
    return batched.sample()


def encode(space: spaces.Space, native: Any, name: str = "observation") -> np.ndarray:
    return ObsCodec(space).encode(native, N)[name]


def box(low: float, high: float, shape: tuple[int, ...], dtype: Any) -> spaces.Box:
    return spaces.Box(low, high, shape, dtype)


OBSERVATIONS = [
    (box(-np.inf, np.inf, (4,), np.float32), ObsSpec("vector", (4,), "float32")),
    (box(-1, 1, (), np.float64), ObsSpec("vector", (1,), "float32")),
    (box(-1, 1, (3, 2), np.float32), ObsSpec("vector", (6,), "float32")),
    (box(-1, 1, (4, 3, 2), np.float32), ObsSpec("vector", (24,), "float32")),
    (box(0, 9, (5,), np.int64), ObsSpec("vector", (5,), "float32")),
    (box(0, 255, (5,), np.uint8), ObsSpec("vector", (5,), "float32")),
    (box(0, 1000, (4, 4), np.int32), ObsSpec("vector", (16,), "float32")),
    (box(0, 255, (9, 7, 3), np.uint8), ObsSpec("image", (9, 7, 3), "uint8")),
    (box(0, 255, (9, 7), np.uint8), ObsSpec("image", (9, 7, 1), "uint8")),
    (box(0, 255, (4, 9, 7), np.uint8), ObsSpec("image", (9, 7, 4), "uint8")),
    (box(0, 255, (2, 9, 7, 3), np.uint8), ObsSpec("image", (9, 7, 6), "uint8")),
    (box(0, 1, (9, 7, 3), np.float64), ObsSpec("image", (9, 7, 3), "float32")),
    (box(0, 1, (2, 20, 10), np.uint8), ObsSpec("grid", (2, 20, 10), "uint8", 2)),
    (box(0, 1, (20, 10), np.int64), ObsSpec("grid", (1, 20, 10), "uint8", 2)),
    (box(0, 7, (20, 10, 3), np.int8), ObsSpec("grid", (3, 20, 10), "uint8", 8)),
    (box(-1, 1, (6, 6), np.int8), ObsSpec("grid", (1, 6, 6), "uint8", 3)),
    (box(0, 3, (5, 4, 5), np.int8), ObsSpec("grid", (5, 5, 4), "uint8", 4)),
    (box(0, 1, (3, 3), np.bool_), ObsSpec("grid", (1, 3, 3), "uint8", 2)),
    (spaces.Discrete(6), ObsSpec("discrete", (1,), "int32", 6)),
    (spaces.Discrete(6, start=-3), ObsSpec("discrete", (1,), "int32", 6)),
    (spaces.MultiDiscrete([3, 7, 2]), ObsSpec("discrete", (3,), "int32", 7)),
    (spaces.MultiDiscrete([3, 7], start=[4, -1]), ObsSpec("discrete", (2,), "int32", 7)),
    (spaces.MultiDiscrete([[3, 7], [2, 2]]), ObsSpec("discrete", (4,), "int32", 7)),
    (spaces.MultiBinary(5), ObsSpec("vector", (5,), "float32")),
    (spaces.MultiBinary((2, 3)), ObsSpec("vector", (6,), "float32")),
]


@pytest.mark.parametrize(("space", "spec"), OBSERVATIONS, ids=lambda value: str(value).replace(" ", "")[:40])
def test_observation_spec_and_values(space: spaces.Space, spec: ObsSpec) -> None:
    codec = ObsCodec(space)
    assert codec.spec == {"observation": spec}
    native = batch(space)
    record = codec.encode(native, N)["observation"]
    assert record.shape == (N, *spec.shape) and record.dtype == spec.dtype
    assert not np.shares_memory(record, native)
    low: Any = 0
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        low = np.asarray(space.start)
    elif spec.kind == "grid":
        low = int(space.low.min())  # type: ignore[attr-defined]
    # No value is lost: the records contain the native numbers minus the lowest one, in some order.
    wanted = np.sort((native.astype(np.float64) - low).reshape(N, -1))
    np.testing.assert_allclose(np.sort(record.reshape(N, -1)), wanted, rtol=1e-6)
    rows = np.array([3, 1])
    np.testing.assert_array_equal(codec.encode(native, N, rows)["observation"], record[rows])
    np.testing.assert_array_equal(codec.encode_rows([native[3], native[1]], rows)["observation"], record[rows])


def test_axes_of_grids_and_images() -> None:
    last = batch(box(0, 7, (20, 10, 3), np.int8))
    np.testing.assert_array_equal(encode(box(0, 7, (20, 10, 3), np.int8), last), last.transpose(0, 3, 1, 2))
    first = batch(box(0, 1, (2, 20, 10), np.uint8))
    np.testing.assert_array_equal(encode(box(0, 1, (2, 20, 10), np.uint8), first), first)
    stacked = batch(box(0, 255, (4, 9, 7), np.uint8))
    np.testing.assert_array_equal(encode(box(0, 255, (4, 9, 7), np.uint8), stacked), stacked.transpose(0, 2, 3, 1))
    frames = batch(box(0, 255, (2, 9, 7, 3), np.uint8))
    image = encode(box(0, 255, (2, 9, 7, 3), np.uint8), frames)
    np.testing.assert_array_equal(image[..., 3:], frames[:, 1])
    np.testing.assert_array_equal(image[..., :3], frames[:, 0])


def test_nested_observations_are_flat_and_named() -> None:
    space = spaces.Dict(
        camera=spaces.Dict(left=box(0, 255, (6, 5, 3), np.uint8), right=box(0, 255, (6, 5), np.uint8)),
        pair=spaces.Tuple((spaces.Discrete(3, start=1), spaces.MultiBinary(2))),
        speed=box(-1, 1, (2,), np.float32),
    )
    codec = ObsCodec(space)
    assert list(codec.spec) == ["camera/left", "camera/right", "pair/0", "pair/1", "speed"]
    native = batch(space)
    record = codec.encode(native, N)
    np.testing.assert_array_equal(record["camera/left"], native["camera"]["left"])
    np.testing.assert_array_equal(record["pair/0"][:, 0], native["pair"][0] - 1)
    np.testing.assert_array_equal(record["speed"], native["speed"])


def test_mask_entry() -> None:
    space = spaces.Dict(x=spaces.Discrete(2), action_mask=box(0, 1, (4,), np.int8))
    codec = ObsCodec(space, mask_size=4)
    assert codec.spec["action_mask"] == ObsSpec("mask", (4,), "bool")
    native = batch(space)
    np.testing.assert_array_equal(codec.encode(native, N)["action_mask"], native["action_mask"] == 1)
    other = ObsCodec(space, mask_size=5)
    assert other.unused_mask and list(other.spec) == ["x"]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Text(5), r"'observation' has the space Text.*no mapping"),
        (spaces.Dict(a=spaces.Dict(b=spaces.Sequence(spaces.Discrete(2)))), "'a/b' has the space Sequence"),
        (spaces.Tuple((spaces.Graph(spaces.Discrete(2), None),)), "'0' has the space Graph"),
        (spaces.Box(0, 1, (0,)), "is empty"),
        (spaces.Dict({}), "nothing to observe"),
        (spaces.Dict({"a/b": spaces.Discrete(2), "a": spaces.Dict(b=spaces.Discrete(2))}), r"called \['a/b'\]"),
    ],
)
def test_observation_spaces_that_cannot_be_mapped(space: spaces.Space, message: str) -> None:
    with pytest.raises(EnvError, match=message):
        ObsCodec(space)


def test_bad_observations_are_named() -> None:
    vector = ObsCodec(box(-1, 1, (2,), np.float32))
    bad = np.zeros((N, 2), np.float32)
    bad[3, 1] = np.inf
    with pytest.raises(EnvError, match=r"environment 3: observation entry 'observation' is inf at \[1\]"):
        vector.encode(bad, N)
    with pytest.raises(EnvError, match="environment 7"):
        vector.encode_rows([bad[3]], np.array([7]))
    with pytest.raises(EnvError, match=r"has shape \(5, 3\), not \(5, 2\)"):
        vector.encode(np.zeros((N, 3)), N)
    with pytest.raises(EnvError, match="not finite"):  # in the record's float32
        ObsCodec(box(-np.inf, np.inf, (2,), np.float64)).encode(np.full((N, 2), 1e300), N)
    grid = ObsCodec(box(0, 1, (3, 3), np.uint8))
    with pytest.raises(EnvError, match=r"environment 0: observation entry 'observation' is 9 .* not in 0..1"):
        grid.encode(np.full((N, 3, 3), 9, np.uint8), N)
    with pytest.raises(EnvError, match="'b' is missing: got \\['a'\\]"):
        ObsCodec(spaces.Dict(a=spaces.Discrete(2), b=spaces.Discrete(2))).encode({"a": np.zeros(N)}, N)
