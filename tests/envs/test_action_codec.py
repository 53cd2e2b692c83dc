"""Every kind of action space: its parts, and records and native actions as inverses of each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamjax.envs.action_codec import ActionCodec
from dreamjax.envs.checks import EnvError
from dreamjax.envs.make import make_env_from
from dreamjax.types import ActionPart
from tests.helpers import scripted

N = 5


def box(low: float, high: float, shape: tuple[int, ...], dtype: Any) -> spaces.Box:
    return spaces.Box(low, high, shape, dtype)


ACTIONS = [
    (spaces.Discrete(4), (ActionPart("categorical", 4),)),
    (spaces.Discrete(4, start=-2), (ActionPart("categorical", 4),)),
    (spaces.MultiDiscrete([3, 2]), (ActionPart("categorical", 3), ActionPart("categorical", 2))),
    (spaces.MultiDiscrete([[3], [2]], start=[[1], [5]]), (ActionPart("categorical", 3), ActionPart("categorical", 2))),
    (spaces.MultiBinary(8), (ActionPart("binary", 8),)),
    (spaces.MultiBinary((2, 2)), (ActionPart("binary", 4),)),
    (
        spaces.Box(np.float32([-2, 0]), np.float32([2, 10])),
        (ActionPart("continuous", 2, low=(-2.0, 0.0), high=(2.0, 10.0)),),
    ),
    (box(-np.inf, np.inf, (2,), np.float32), (ActionPart("continuous", 2, low=(-1.0, -1.0), high=(1.0, 1.0)),)),
    (box(0, np.inf, (1,), np.float64), (ActionPart("continuous", 1, low=(-1.0,), high=(1.0,)),)),
    (box(-1, 1, (), np.float32), (ActionPart("continuous", 1, low=(-1.0,), high=(1.0,)),)),
    (box(0, 6, (2,), np.int32), (ActionPart("continuous", 2, low=(0.0, 0.0), high=(6.0, 6.0)),)),
    (
        spaces.Dict(
            arm=spaces.Tuple((box(-3, 3, (2,), np.float32), spaces.Discrete(3, start=1))),
            buttons=spaces.MultiBinary(2),
            gear=spaces.MultiDiscrete([2, 5]),
        ),
        (
            ActionPart("continuous", 2, low=(-3.0, -3.0), high=(3.0, 3.0)),
            ActionPart("categorical", 3),
            ActionPart("binary", 2),
            ActionPart("categorical", 2),
            ActionPart("categorical", 5),
        ),
    ),
]


# Gymnasium warns of its own handling of scalar boxes and of MultiDiscrete spaces with several axes.
gymnasium_warns = pytest.mark.filterwarnings("ignore:.*(Casting input x|length of a multi-dimensional)")


def stacked(space: spaces.Space, seed: int) -> Any:
    """Samples of the single space, batched as Gymnasium batches them."""
    space.seed(seed)
    return concatenate(space, [space.sample() for _ in range(N)], create_empty_array(space, N))


@gymnasium_warns
@pytest.mark.parametrize(("space", "parts"), ACTIONS, ids=lambda value: str(value).replace(" ", "")[:40])
def test_actions_round_trip(space: spaces.Space, parts: tuple[ActionPart, ...]) -> None:
    codec = ActionCodec(space)
    assert codec.spec.parts == parts
    batched = batch_space(space, N)
    for seed in range(10):
        native = stacked(space, seed)
        record = codec.encode(native, N)
        assert record.shape == (N, codec.spec.record_size) and record.dtype == codec.spec.record_dtype
        back = codec.decode(record)
        assert batched.contains(back), back
        for wanted, got in zip(iterate(batched, native), iterate(batched, back), strict=True):
            assert space.contains(got)
            for a, b in zip(flat(space, wanted), flat(space, got), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def flat(space: spaces.Space, value: Any) -> list[Any]:
    if isinstance(space, spaces.Dict):
        return [leaf for name, child in space.spaces.items() for leaf in flat(child, value[name])]
    if isinstance(space, spaces.Tuple):
        return [leaf for child, part in zip(space.spaces, value, strict=True) for leaf in flat(child, part)]
    return [value]


@gymnasium_warns
@pytest.mark.parametrize(("space", "parts"), ACTIONS, ids=lambda value: str(value).replace(" ", "")[:40])
def test_environments_get_native_actions(space: spaces.Space, parts: tuple[ActionPart, ...]) -> None:
    """Through the whole adapter; the environment asserts that each action is in its space."""
    adapter = make_env_from(lambda: scripted.SpaceEnv(spaces.Discrete(2), space), 2, seed=0)
    adapter.reset()
    rng = np.random.default_rng(0)
    for _ in range(8):
        columns = []
        for part in parts:
            shape = (2, part.columns)
            top = part.size if part.kind == "categorical" else 2
            columns.append(rng.uniform(-1, 1, shape) if part.kind == "continuous" else rng.integers(0, top, shape))
        adapter.step(np.concatenate(columns, 1).astype(adapter.spec.action.record_dtype))


def test_box_actions_by_hand() -> None:
    codec = ActionCodec(spaces.Box(np.float32([-2, 0, -np.inf]), np.float32([2, 10, np.inf])))
    record = np.array([[-1, 0, 7.5], [1, 0.5, -3], [2, -9, 0]], np.float32)
    np.testing.assert_allclose(codec.decode(record), [[-2, 5, 7.5], [2, 7.5, -3], [2, 0, 0]])


@given(st.floats(-1e3, 1e3, width=32), st.floats(0, 1e3, width=32), st.floats(-1.5, 1.5, width=32))
@settings(max_examples=100, deadline=None)
def test_box_actions_stay_inside(low: float, span: float, value: float) -> None:
    space = spaces.Box(np.float32([low]), np.float32([low]) + np.float32(span))
    native = ActionCodec(space).decode(np.full((N, 1), value, np.float32))
    assert space.contains(native[0])


def test_masks_need_one_categorical_part() -> None:
    assert ActionCodec(spaces.Discrete(5)).mask_size == 5
    assert ActionCodec(spaces.Tuple((spaces.Discrete(5), spaces.MultiBinary(2)))).mask_size == 5
    assert ActionCodec(spaces.MultiDiscrete([5, 5])).mask_size is None
    assert ActionCodec(spaces.MultiBinary(5)).mask_size is None


def test_bad_actions() -> None:
    codec = ActionCodec(spaces.Dict(a=spaces.Discrete(3), b=spaces.MultiBinary(1), c=spaces.Box(-1, 1, (1,))))
    with pytest.raises(ValueError, match="NaN"):
        codec.decode(np.array([[0, 0, np.nan]]))
    with pytest.raises(ValueError, match=r"holds 2.0 in column 1: not in 0..1"):
        codec.decode(np.array([[0, 2, 0.0]]))
    with pytest.raises(EnvError, match="'b' has the action space Text"):
        ActionCodec(spaces.Dict(a=spaces.Discrete(3), b=spaces.Text(3)))
    with pytest.raises(EnvError, match="nothing to choose"):
        ActionCodec(spaces.Dict({}))
