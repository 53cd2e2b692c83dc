"""Another environment than the trained one: actions in another order are mapped by name, anything else is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from dreamjax.config import EnvConfig
from dreamjax.envs import saved_spaces
from dreamjax.envs.adapter import Adapter
from dreamjax.envs.checks import EnvError
from dreamjax.envs.make import make_env
from dreamjax.envs.matching import match
from dreamjax.training.storage import recording
from dreamjax.types import EnvSpec
from tests.helpers.buttons import ordered


def make(**kwargs: Any) -> Adapter:
    return make_env(EnvConfig(id="tests.helpers.buttons:Buttons-v0", kwargs=kwargs), 2, seed=0)


def saved(env: Adapter, *, named: bool = True) -> EnvSpec:
    """The specification as a checkpoint keeps it, or one of a version without names did."""
    values = json.loads(json.dumps(recording.spec_to_dict(env.spec)))
    for part in values["action"]["parts"]:
        part.pop("name") if not named else None
    return recording.spec_from_dict(values)


def test_parts_have_names() -> None:
    assert [part.name for part in saved(make()).action.parts] == ["up", "down", "turn"]
    assert [part.name for part in make(flip=True).spec.action.parts] == ["turn", "down", "up"]


def test_actions_in_another_order_are_those_of_the_trained_order() -> None:
    trained, other = make(), make(flip=True)
    match(other, saved(trained))
    assert [part.name for part in other.spec.action.parts] == ["up", "down", "turn"]
    record = np.array([[1, 0, 0.5], [0, 1, -1.0]], np.float32)
    native = other.actions.decode(record)
    assert list(native) == ["turn", "down", "up"]
    assert (
        native["up"].tolist() == [1, 0]
        and native["down"].tolist() == [0, 1]
        and native["turn"][:, 0].tolist() == [1, -2]
    )
    np.testing.assert_array_equal(other.actions.encode(native, 2), record)
    for env in (trained, other):
        env.reset()
        assert env.step(record)[1].reward.tolist() == [1, 0]
        env.close()


def test_the_same_order_is_left_alone() -> None:
    for named in (True, False):
        env = make()
        before = env.actions
        match(env, saved(make(), named=named))
        assert env.actions is before


@pytest.mark.parametrize(
    ("env", "trained", "named", "told"),
    [
        ({"without": "down"}, {}, True, r"\[up .*, down .*, turn .*\]; here they are \[up .*, turn .*\]"),
        ({"flip": True}, {}, False, r"with the actions \[.*\]; here they are \[turn .*, down .*, up .*\]"),
        ({"without": "a_b"}, {}, True, r"other observations: a_b \(vector float32 \[2\]\); here there is no a_b"),
        ({}, {"without": "a"}, True, r"other observations: no a/b; here there is a/b \(vector float32 \[2\]\)"),
    ],
)
def test_what_cannot_be_matched_is_refused(env: Any, trained: Any, named: bool, told: str) -> None:
    with pytest.raises(EnvError, match=told):
        match(make(**env), saved(make(**trained), named=named))


SPACES = [
    spaces.Box(0, 255, (4, 4, 3), np.uint8),
    spaces.Box(np.array([-np.inf, 0], np.float32), np.array([1, np.inf], np.float32)),
    spaces.Box(-1, 1, (), np.float64),
    spaces.Discrete(5, start=-2),
    spaces.MultiDiscrete([[3, 4], [5, 2]], start=[[1, 0], [0, -1]]),
    spaces.MultiBinary((2, 3)),
    spaces.Tuple([spaces.Discrete(2), ordered({"z": spaces.Discrete(3), "a": spaces.MultiBinary(2)})]),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_spaces_as_json(space: spaces.Space) -> None:
    found = saved_spaces.from_json(json.loads(json.dumps(saved_spaces.to_json(space))))
    assert found == space and found.dtype == space.dtype
    if isinstance(space, spaces.Tuple):
        assert list(found[1].spaces) == ["z", "a"]  # type: ignore[index]


def test_a_space_without_a_mapping_keeps_its_place() -> None:
    space = ordered({"mission": spaces.Text(9), "x": spaces.Discrete(2)})
    found = saved_spaces.from_json(saved_spaces.to_json(space))
    assert list(found.spaces) == ["mission", "x"]  # type: ignore[attr-defined]
