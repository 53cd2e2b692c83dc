"""The command that says what is wrong with an environment finds each thing that is."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from dreamjax.commands import check_env
from dreamjax.config import EnvConfig
from dreamjax.envs.checks import EnvError
from dreamjax.envs.make import find_spec, make_env
from tests.helpers import scripted


def run(name: str, *arguments: str) -> int:
    return check_env.main([f"--env=tests.helpers.scripted:{name}", *arguments])


@pytest.fixture
def register() -> Any:
    names = []

    def add(name: str, entry: Any, **options: Any) -> str:
        gymnasium.register(name, entry_point=entry, **options)
        names.append(name)
        return name

    yield add
    for name in names:
        del gymnasium.registry[name]


def test_a_sound_environment(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("Scripted-v0", "--steps=100") == 0
    out = capsys.readouterr().out
    assert "vector" in out and "categorical 2" in out and "no problem in 100 random steps, 16 episodes" in out


def test_masks_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    name = next(name for name in ("Taxi-v4", "Taxi-v3") if name in gymnasium.registry)
    assert check_env.main([f"--env={name}", "--steps=50"]) == 0
    assert "mask" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ScriptedNan-v0", "step 3: 'observation' holds NaN"),
        ("ScriptedShape-v0", "step 3: observation entry 'observation' has shape (5,), its space says (2,)"),
        ("ScriptedBounds-v0", "step 3: 'observation' holds -7.0, outside"),
        ("ScriptedLimit-v0", "a time limit is reported as termination: 33 of 33 episodes end after exactly 3 steps"),
        ("ScriptedRandom-v0", "seeds are not reproducible"),
        ("ScriptedRaise-v0", "step 3 raised RuntimeError: the step went wrong"),
    ],
)
def test_each_fault_is_found(name: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--steps=100") == 1
    assert message in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("RewardNone", "step 2: the reward is None: return one number"),
        ("RewardNan", "step 2: the reward is nan: not finite"),
        ("TooLarge", "step 2: observation entry 'observation' is 300 (int64) at [0, 0], which uint8"),
        ("OldReset", "step 0: it follows the API of Gym before 0.26"),
        ("NoSeed", "step 0: it follows the API of Gym before 0.26"),
    ],
)
def test_it_refuses_what_training_refuses(name: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_env.main([f"--env=tests.helpers.edges:Edge{name}-v0", "--steps=20"]) == 1
    assert message in capsys.readouterr().out


@pytest.mark.parametrize("name", ["RewardArray", "Fits", "LateMask", "Alone"])
def test_it_takes_what_training_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_env.main([f"--env=tests.helpers.edges:Edge{name}-v0", "--steps=20"]) == 0
    out = capsys.readouterr().out
    assert "no problem in 20 random steps" in out
    assert ("a second one cannot be made beside the first" in out) == (name == "Alone")


def test_space_without_a_mapping(register: Any, capsys: pytest.CaptureFixture[str]) -> None:
    name = register("Texts-v0", lambda: scripted.SpaceEnv(spaces.Dict(a=spaces.Text(3))))
    assert check_env.main([f"--env={name}", "--steps=5"]) == 1
    assert "'a' has the space Text" in capsys.readouterr().out


def test_single_environment_that_resets_itself(register: Any, capsys: pytest.CaptureFixture[str]) -> None:
    class Eager(scripted.FaultyEnv):
        def reset(self, **kwargs: Any) -> Any:
            if self.steps == self.length:
                self.steps = 0
                return self.observe(), {}
            return super().reset(**kwargs)

        def step(self, action: Any) -> Any:
            observation, *rest = super().step(action)
            return (np.array([self.value, 0], np.float32) if self.steps == self.length else observation), *rest

    name = register("Eager-v0", Eager)
    assert check_env.main([f"--env={name}", "--steps=100"]) == 1
    assert "no terminal observation" in capsys.readouterr().out


def test_vector_environment_that_hides_the_end(register: Any, capsys: pytest.CaptureFixture[str]) -> None:
    class Silent(scripted.ScriptedVectorEnv):
        def __init__(self, num_envs: int) -> None:
            super().__init__(num_envs, AutoresetMode.SAME_STEP)

        def step(self, actions: Any) -> Any:
            *rest, infos = super().step(actions)
            infos.pop("final_obs", None)
            return *rest, infos

    name = register("Silent-v0", None, vector_entry_point=Silent)
    assert check_env.main([f"--env={name}", "--steps=20"]) == 1
    assert "no terminal observation" in capsys.readouterr().out


@pytest.mark.parametrize("kwargs", ['{"length": 3, "fault": null}', "{'length': 3, 'fault': None}"])
def test_arguments_in_json_and_in_python(kwargs: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("Scripted-v0", "--steps=60", f"--kwargs={kwargs}") == 0
    assert run("Scripted-v0", "--steps=60", f"--config.env.kwargs={kwargs}") == 0
    assert capsys.readouterr().out.count("no problem in 60 random steps, 20 episodes") == 2


def test_ids_without_a_version_mean_the_newest(register: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for version, size in (("v0", 3), ("v2", 5)):
        register(f"Versions-{version}", lambda size=size: scripted.SpaceEnv(spaces.Box(-1, 1, (size,))))
    assert check_env.main(["--env=Versions", "--steps=5"]) == 0
    assert "(5,)" in capsys.readouterr().out
    adapter = make_env(EnvConfig(id="Versions"), 1, seed=0)
    assert adapter.spec.obs["observation"].shape == (5,)
    for call in (lambda: make_env(EnvConfig(id="Version"), 1, seed=0), lambda: find_spec("Versions-v3")):
        with pytest.raises(EnvError, match="doesn't exist"):
            call()


def test_fields_of_the_environment_can_be_tried(register: Any, capsys: pytest.CaptureFixture[str]) -> None:
    space = spaces.Dict(a=spaces.Text(3), b=spaces.Box(0, 1, (6, 8, 10), np.uint8))
    name = register("Fields-v0", lambda: scripted.SpaceEnv(copy.deepcopy(space)))
    assert check_env.main([f"--env={name}", "--steps=5"]) == 1
    assert "leave it out by env.ignore=a" in capsys.readouterr().out
    assert check_env.main([f"--env={name}", "--steps=5", "--config.env.ignore=a"]) == 0
    out = capsys.readouterr().out
    assert "left out" in out and "6 channels of 8 x 10: say env.layout=channels_last" in out
    fields = ["--config.env.ignore=a", "--config.env.obs.b.channels=last"]
    assert check_env.main([f"--env={name}", "--steps=5", *fields]) == 0
    out = capsys.readouterr().out
    assert "(10, 6, 8)" in out and "warning observation" not in out
    assert check_env.main([f"--env={name}", "--config.seed=3"]) == 2


def test_wrong_usage_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["--env=Nowhere-v0"], "doesn't exist"),
        (["--env=nomodule:X-v0"], "No module named 'nomodule'"),
        (["--env=CartPole-v1", "--steps=0"], "--steps=0 is not allowed"),
        (["--env=CartPole-v1", "--kwargs=["], "must be a JSON object or a Python dictionary"),
        (["--env=CartPole-v1", "--stepz=3"], "--stepz"),
        ([], "--env"),
    ):
        assert check_env.main(arguments) == 2
        err = capsys.readouterr().err
        assert message in err and err.startswith("error: ") and err.count("\n") == 1
