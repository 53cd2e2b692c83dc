"""How arrays are read: rules for the sure cases, a note in words for the others, and the fields that set it."""

from __future__ import annotations

import functools
import re
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from dreamjax.config import ConfigError, EnvConfig
from dreamjax.envs.checks import EnvError, EnvWarning
from dreamjax.envs.make import make_env_from
from dreamjax.envs.obs_codec import ObsCodec
from dreamjax.types import ObsSpec
from tests.helpers import edges

INF = np.inf


def box(low: float, high: float, shape: tuple[int, ...], dtype: Any) -> spaces.Box:
    return spaces.Box(low, high, shape, np.dtype(dtype))


def codec(space: spaces.Space, **config: Any) -> ObsCodec:
    return ObsCodec(space, config=EnvConfig(**config))


READINGS: list[tuple[float, float, tuple[int, ...], str, str, tuple[int, ...], str]] = [
    # low, high, native shape, dtype; kind, shape of the entry, words of the note
    (0, 255, (96, 96, 3), "uint8", "image", (96, 96, 3), ""),
    (0, 255, (3, 96, 96), "uint8", "image", (96, 96, 3), ""),
    (0, 255, (4, 84, 84), "uint8", "image", (84, 84, 4), ""),
    (0, 255, (84, 84, 4), "uint8", "image", (84, 84, 4), ""),
    (0, 255, (96, 96, 9), "uint8", "image", (96, 96, 9), ""),  # three frames in one axis
    (0, 255, (9, 96, 96), "uint8", "image", (96, 96, 9), ""),
    (0, 255, (210, 160, 3), "uint8", "image", (210, 160, 3), ""),
    (0, 255, (4, 84, 84, 1), "uint8", "image", (84, 84, 4), ""),
    (0, 255, (4, 64, 64, 3), "uint8", "image", (64, 64, 12), ""),
    (0, 255, (4, 3, 64, 64), "uint8", "image", (64, 64, 12), ""),
    (0, 255, (64, 64, 3, 4), "uint8", "image", (64, 64, 12), ""),
    (0, 255, (48, 64, 1), "int64", "image", (48, 64, 1), ""),
    (0, 1, (4, 64, 64, 3), "float32", "image", (64, 64, 12), ""),
    (-1, 1, (64, 64, 3), "float32", "image", (64, 64, 3), ""),
    (0, 255, (3, 64, 64), "float64", "image", (64, 64, 3), ""),
    (0, 1, (10, 10, 4), "bool", "grid", (4, 10, 10), ""),  # MinAtar
    (0, 1, (10, 10, 7), "bool", "grid", (7, 10, 10), ""),
    (0, 1, (10, 10, 10), "bool", "grid", (10, 10, 10), "10 channels of 10 x 10: say env.layout=channels_first"),
    (0, 1, (7, 7, 20), "uint8", "grid", (20, 7, 7), "20 channels of 7 x 7: say env.layout=channels_first"),
    (0, 1, (4, 10, 10, 6), "bool", "grid", (24, 10, 10), ""),
    (0, 1, (8, 8, 111), "float32", "image", (8, 8, 111), "111 channels of 8 x 8: say env.layout=channels_first"),
    (0, 1, (111, 8, 8), "float32", "image", (8, 8, 111), "111 channels of 8 x 8: say env.layout=channels_last"),
    (-1, 1, (17, 20, 10), "float32", "image", (17, 20, 10), "10 channels of 17 x 20: say env.layout=channels_first"),
    (0, 255, (5, 17, 20, 10), "uint8", "image", (17, 20, 50), "5 frames of 10 channels of 17 x 20"),
    (0, 255, (1, 720), "uint8", "vector", (720,), ""),
    (0, 255, (2, 9), "uint8", "vector", (18,), ""),
    (0, 1, (1, 720), "float32", "vector", (720,), ""),
    (0, 3, (6, 5), "uint8", "grid", (1, 6, 5), ""),
    (0, 255, (6, 5), "uint8", "image", (6, 5, 1), "an image of 6 x 5: say env.obs={'observation': {'kind': 'vector'}}"),
    (0, 1, (64, 64), "float32", "image", (64, 64, 1), "an image of 64 x 64"),
    (-1, 1, (4, 3, 2), "float32", "vector", (24,), ""),
    (-INF, INF, (64, 64, 3), "float32", "vector", (12288,), "12,288 numbers (it has no finite bounds)"),
    (-INF, INF, (17,), "float64", "vector", (17,), ""),
]


@pytest.mark.parametrize(("low", "high", "native", "dtype", "kind", "shape", "note"), READINGS)
def test_arrays_are_read_by_the_rules(
    low: float, high: float, native: tuple[int, ...], dtype: str, kind: str, shape: tuple[int, ...], note: str
) -> None:
    found = codec(box(low, high, native, dtype))
    entry = found.spec["observation"]
    assert (entry.kind, entry.shape) == (kind, shape)
    assert len(found.notes) == bool(note) and note in "".join(found.notes)


@pytest.mark.parametrize(
    ("native", "axes", "shape"),
    [
        ((3, 9, 7), (1, 2, 0), (9, 7, 3)),
        ((9, 7, 3), (0, 1, 2), (9, 7, 3)),
        ((2, 9, 7, 3), (1, 2, 0, 3), (9, 7, 6)),
        ((2, 3, 9, 7), (2, 3, 0, 1), (9, 7, 6)),  # frame by frame, each with its own channels
        ((9, 7, 3, 2), (0, 1, 2, 3), (9, 7, 6)),
    ],
)
def test_every_pixel_keeps_its_place(native: tuple[int, ...], axes: tuple[int, ...], shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(native), dtype=np.uint8).reshape(1, *native)
    wanted = array[0].transpose(axes).reshape(shape)
    image = codec(box(0, 255, native, "uint8")).encode(array, 1)["observation"]
    np.testing.assert_array_equal(image[0], wanted)
    grid = codec(box(0, 1, native, "uint8")).encode(array % 2, 1)["observation"]
    np.testing.assert_array_equal(grid[0], wanted.transpose(2, 0, 1) % 2)


@pytest.mark.parametrize(("layout", "axes"), [("channels_first", (1, 2, 0)), ("channels_last", (0, 1, 2))])
def test_the_layout_can_be_said(layout: str, axes: tuple[int, ...]) -> None:
    array = np.arange(6 * 8 * 10, dtype=np.uint8).reshape(1, 6, 8, 10)
    wanted = array.transpose(0, *(axis + 1 for axis in axes))
    space = box(0, 255, (6, 8, 10), "uint8")
    assert codec(space).notes
    by_entry = codec(space, obs={"obs.*": {"channels": layout.removeprefix("channels_")}})
    for found in (codec(space, layout=layout), by_entry):
        assert not found.notes
        np.testing.assert_array_equal(found.encode(array, 1)["observation"], wanted)


def test_floats_are_scaled_by_their_bounds() -> None:
    native = np.linspace(-1, 1, 8 * 8 * 3).reshape(1, 8, 8, 3)
    image = codec(box(-1, 1, (8, 8, 3), "float32")).encode(native, 1)["observation"]
    np.testing.assert_allclose(image, native / 2 + 0.5, atol=1e-6)
    depth = codec(box(0, 65535, (16, 16, 1), "uint16")).encode(np.full((1, 16, 16, 1), 65535 // 3), 1)["observation"]
    np.testing.assert_allclose(depth, 1 / 3, atol=1e-6)
    high = np.ones((8, 8, 2), np.float32)
    high[..., 1] = 4
    by_channel = codec(spaces.Box(-high, high)).encode(np.full((1, 8, 8, 2), 1.0), 1)["observation"]
    np.testing.assert_allclose(by_channel[0, 0, 0], [1, (1 + 4) / 8])
    said = codec(box(-INF, INF, (8, 8, 3), "float32"), obs={"observation": {"kind": "image", "low": -2, "high": 2}})
    values = np.full((1, 8, 8, 3), 1.0)
    values[0, 0, 0] = [-2, 0, 9]
    image = said.encode(values, 1)["observation"]
    assert image[0, 1, 1].tolist() == [0.75] * 3 and image[0, 0, 0].tolist() == [
        0,
        0.5,
        1,
    ]  # what is outside is clipped
    values[0, 0, 0, 0] = np.nan
    with pytest.raises(EnvError, match=r"is nan at \[0, 0, 0\]: not finite; .* env.ignore=observation"):
        said.encode(values, 1)


def test_codes_are_a_grid_where_it_is_said() -> None:
    space = spaces.Dict(image=box(0, 255, (7, 7, 3), "uint8"), direction=spaces.Discrete(4))
    found = codec(space, obs={"image": {"kind": "grid", "classes": 11}})
    assert found.spec["image"] == ObsSpec("grid", (3, 7, 7), "uint8", 11)
    codes = np.random.default_rng(0).integers(0, 11, (2, 7, 7, 3)).astype(np.uint8)
    native = {"image": codes, "direction": np.zeros(2, np.int64)}
    np.testing.assert_array_equal(found.encode(native, 2)["image"], codes.transpose(0, 3, 1, 2))
    codes[1, 0, 2, 1] = 11
    with pytest.raises(EnvError, match=r"environment 1: .* 'image' is 11 at \[0, 2, 1\]: not in 0..10 .*set classes"):
        found.encode(native, 2)


@pytest.mark.parametrize(
    ("space", "setting", "spec"),
    [
        (box(0, 1, (8, 8, 12), "float32"), {"kind": "grid"}, ObsSpec("grid", (12, 8, 8), "uint8", 2)),
        (box(-1, 2000, (4, 5), "int32"), {"kind": "grid", "classes": 9}, ObsSpec("grid", (1, 4, 5), "uint8", 9)),
        (box(0, 255, (9, 7, 3), "uint8"), {"kind": "vector"}, ObsSpec("vector", (189,), "float32")),
        (box(0, 4, (3,), "int8"), {"kind": "discrete"}, ObsSpec("discrete", (3,), "int32", 5)),
        (box(-1e9, 1e9, (), "float32"), {"kind": "discrete", "classes": 6}, ObsSpec("discrete", (1,), "int32", 6)),
        (spaces.MultiBinary((6, 7)), {"kind": "grid"}, ObsSpec("grid", (1, 6, 7), "uint8", 2)),
        (spaces.MultiDiscrete(np.full((6, 7), 3)), {"kind": "grid"}, ObsSpec("grid", (1, 6, 7), "uint8", 3)),
        (spaces.Discrete(9), {"kind": "vector"}, ObsSpec("vector", (1,), "float32")),
    ],
)
def test_kinds_can_be_said(space: spaces.Space, setting: dict[str, Any], spec: ObsSpec) -> None:
    found = codec(space, obs={"observation": setting})
    assert found.spec == {"observation": spec}


def test_a_float_grid_holds_whole_numbers() -> None:
    found = codec(box(0, 1, (5, 5), "float32"), obs={"observation": {"kind": "grid"}})
    assert found.encode(np.ones((1, 5, 5)), 1)["observation"].dtype == np.uint8
    with pytest.raises(EnvError, match=r"is 0.5 at \[0, 0\]"):
        found.encode(np.full((1, 5, 5), 0.5), 1)


@pytest.mark.parametrize(
    ("obs", "message"),
    [
        (
            {"observation": {"kind": "image"}},
            "kind='image' is not allowed for observation entry 'observation': .*bounds",
        ),
        ({"observation": {"kind": "grid"}}, "must have at most 256 classes: set classes"),
        ({"camera": {"kind": "grid"}}, "'camera' matches no observation entry: there are observation"),
    ],
)
def test_settings_that_do_not_go_with_the_space(obs: dict[str, Any], message: str) -> None:
    with pytest.raises(EnvError, match=f"env.obs.*{message}"):
        codec(box(-INF, INF, (9, 9), "float32"), obs=obs)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"obs": {"a": {"kind": "picture"}}}, r"obs\['a'\].kind='picture' is not allowed: must be one of \['image'"),
        ({"obs": {"a": {"shape": 3}}}, r"obs\['a'\].shape=3 is not allowed: known here: kind, channels, classes"),
        (
            {"obs": {"a": {"kind": "grid", "classes": 1}}},
            r"classes=1 is not allowed: must be a whole number in \[2, 256\]",
        ),
        ({"obs": {"a": {"classes": 3}}}, "classes=3 is not allowed: needs kind grid or discrete"),
        ({"obs": {"a": {"low": 3, "high": 3}}}, "low=3 is not allowed: must be below high=3"),
        ({"obs": {"a": "image"}}, r"obs\['a'\]='image' is not allowed: must be a group such as"),
        ({"obs": {"(": {}}}, "must be regular expressions"),
        ({"ignore": "("}, r"ignore='\(' is not allowed: must be a regular expression"),
        ({"layout": "last"}, "layout='last' is not allowed: must be one of"),
    ],
)
def test_settings_that_are_none(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EnvConfig(**config)


# Runs of versions without ``env.layout`` are read as they were.


@pytest.mark.parametrize(
    ("low", "high", "native", "dtype", "spec"),
    [
        (0, 1, (10, 10, 10), "bool", ObsSpec("grid", (10, 10, 10), "uint8", 2)),
        (0, 1, (7, 7, 20), "uint8", ObsSpec("grid", (7, 7, 20), "uint8", 2)),
        (0, 1, (8, 8, 111), "float32", ObsSpec("image", (8, 111, 8), "float32")),
        (0, 255, (4, 3, 64, 64), "uint8", ObsSpec("image", (3, 64, 256), "uint8")),
        (0, 255, (2, 9), "uint8", ObsSpec("image", (2, 9, 1), "uint8")),
        (-1, 1, (64, 64, 3), "float32", ObsSpec("vector", (12288,), "float32")),
        (0, 255, (3, 96, 96), "uint8", ObsSpec("image", (96, 96, 3), "uint8")),
        (0, 7, (20, 10, 3), "int8", ObsSpec("grid", (3, 20, 10), "uint8", 8)),
    ],
)
def test_the_legacy_layout(low: float, high: float, native: tuple[int, ...], dtype: str, spec: ObsSpec) -> None:
    found = codec(box(low, high, native, dtype), layout="legacy")
    assert found.spec == {"observation": spec} and not found.notes


def test_the_legacy_layout_takes_the_first_axis_of_a_cube() -> None:
    array = np.random.default_rng(0).integers(0, 2, (1, 6, 6, 6)).astype(np.uint8)
    space = box(0, 1, (6, 6, 6), "uint8")
    np.testing.assert_array_equal(codec(space, layout="legacy").encode(array, 1)["observation"], array)
    np.testing.assert_array_equal(codec(space).encode(array, 1)["observation"], array.transpose(0, 3, 1, 2))


# Entries that are left out or logged.

MISSION = spaces.Dict(
    image=box(0, 255, (8, 8, 3), "uint8"), direction=spaces.Discrete(4), mission=spaces.Text(9),
    score=box(-INF, INF, (), "float32"), action_mask=spaces.MultiBinary(2),
    log=spaces.Dict(coins=box(0, 99, (), "float32"), map=box(0, 1, (2, 2), "float32"), name=spaces.Text(5)),
)  # fmt: skip


class Mission(gymnasium.Env):
    """Entries of every kind; ``score`` is no number at all, the coins are ten times the step."""

    observation_space, action_space = MISSION, spaces.Discrete(2)

    def observe(self) -> dict[str, Any]:
        log = {"coins": 10.0 * self.t, "map": np.zeros((2, 2)), "name": "a"}
        return dict(
            image=np.full((8, 8, 3), 40 * self.t), direction=self.t % 4, mission="go", score="many", log=log
        ) | {"action_mask": [1, 1]}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return self.observe(), 0.0, self.t == 5, False, {}


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"ignore": "mission|score"}, ["action_mask", "direction", "image"]),
        ({"ignore": "mission|score|action_mask"}, ["direction", "image"]),
        ({"keys": "image"}, ["action_mask", "image"]),
        ({"keys": "image|mission", "ignore": "m.*"}, ["action_mask", "image"]),
    ],
)
@pytest.mark.parametrize("workers", [0, 1])
def test_entries_are_chosen_by_name(config: dict[str, Any], names: list[str], workers: int) -> None:
    if workers and "keys" in config:
        pytest.skip("one case in workers is enough")
    adapter = make_env_from(Mission, 2, seed=0, workers=workers, config=EnvConfig(**config))
    assert sorted(adapter.spec.obs) == names
    adapter.reset()
    _, records = adapter.step(np.zeros((2, 1), np.int32))
    assert sorted(records.obs) == names
    assert records.info["log/coins"].tolist() == [10, 10] and "log/map" not in records.info
    assert records.obs["image"].max() == 40
    adapter.close()


def test_a_refused_entry_names_the_field_that_leaves_it_out() -> None:
    with pytest.raises(EnvError, match=r"'mission' has the space Text.*or leave it out by env.ignore=mission"):
        codec(MISSION)
    with pytest.raises(EnvError, match=r"env.ignore='misson' matches no observation entry: there are .*mission"):
        codec(MISSION, ignore="misson")
    with pytest.raises(EnvError, match=r"nothing to observe: env.keys='mage', env.ignore='' leave none of .*image"):
        codec(MISSION, keys="mage")
    assert "log/coins" not in codec(MISSION, ignore="mission").spec


def test_an_ignored_entry_of_a_tuple_keeps_the_others_names() -> None:
    class Pair(edges.Edge):
        def observe(self) -> Any:
            return "text", np.full(2, self.t, np.float32)

    pair = spaces.Tuple((spaces.Text(5), box(0, 9, (2,), "float32")))
    adapter = make_env_from(functools.partial(Pair, pair), 1, seed=0, config=EnvConfig(ignore="0"))
    assert list(adapter.spec.obs) == ["1"]
    adapter.reset()
    assert adapter.step(np.zeros((1, 1), np.int32))[1].obs["1"].tolist() == [[1, 1]]


# Warnings of training.


def play(cls: Any, steps: int = 60, **config: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        adapter = make_env_from(cls, 2, seed=0, config=EnvConfig(**config))
        adapter.reset()
        for _ in range(steps):
            adapter.step(np.zeros((2, 1), np.int32))
    assert all(warning.category is EnvWarning for warning in caught)
    return [str(warning.message) for warning in caught]


class Codes(edges.Edge):
    """Codes 0..10 in a space of bytes."""

    def observe(self) -> Any:
        return self.np_random.integers(0, 11, self.observation_space.shape).astype(self.observation_space.dtype)


def test_codes_read_as_pixels_are_warned_about_once() -> None:
    space = box(0, 255, (7, 7, 3), "uint8")
    (text,) = play(functools.partial(Codes, space))
    assert re.search(r"'observation' is read as an image with nearly no variance: its values were in 0..10 of", text)
    field = {"observation": {"kind": "grid", "classes": 11}}
    assert "env.obs={'observation': {'kind': 'grid', 'classes': N}}" in text
    assert play(functools.partial(Codes, space), obs=field) == []
    assert play(functools.partial(Codes, space), steps=20) == []  # too early to tell
    (text,) = play(functools.partial(Codes, box(-1000, 1000, (7, 7, 3), "float32")))
    assert "scaled to [0, 1], its values were in [0.5, 0.505]" in text


class Pixels(edges.Edge):
    def observe(self) -> Any:
        return self.np_random.integers(0, 256, self.observation_space.shape).astype(np.uint8)


def test_pixels_are_not_warned_about() -> None:
    assert play(functools.partial(Pixels, box(0, 255, (7, 7, 3), "uint8"))) == []


def test_an_unsure_layout_is_warned_about() -> None:
    (text,) = play(functools.partial(Pixels, box(0, 255, (12, 8, 8), "uint8")), steps=1)
    assert text.startswith(
        "Pixels: observation entry 'observation' (12, 8, 8) is read as 12 channels of 8 x 8: say env."
    )
