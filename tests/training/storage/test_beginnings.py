"""Runs that begin with something of another: its parameters, its replay, or its replay out of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.commands import export as command
from dreamjax.config import InitFromConfig, ReplayConfig
from dreamjax.training.storage import checkpoint, recording, warm_start
from dreamjax.training.storage.workdir import UsageError
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, NormalizerState, ObsSpec, TrainState
from tests.helpers.fakes import fake_agent
from tests.helpers.replay import SPEC, make_buffer, make_records
from tests.helpers.runs import assert_same, contents, lines
from tests.training.test_trainer import Run, make_config, run  # noqa: F401


def make_state(seed: int, *, width: int = 3) -> TrainState:
    rng = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    return TrainState(
        step=jnp.asarray(seed, jnp.int32),
        key=jax.random.key(seed),
        params={
            "world_model": {"encoder": {"w": draw(2)}, "decoder": {"w": draw(width)}},
            "actor": {"out": draw(2)},
            "critic": {"out": draw(4)},
        },
        slow_critic={"out": draw(4)},
        opt_state={"actor": draw(2)},
        retnorm=NormalizerState(draw(), draw(), jnp.asarray(seed, jnp.int32)),
    )


def flat(tree: Any) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("saved")
    checkpoint.save(workdir, 10, make_state(1), {}, {}, keep=2)
    return workdir


NAMES = ["actor.out", "critic.out", "world_model.decoder.w", "world_model.encoder.w"]


@pytest.mark.parametrize(
    ("patterns", "taken"),
    [
        (("*",), NAMES),
        (("world_model",), NAMES[2:]),
        (("actor", "critic"), NAMES[:2]),
        (("*.encoder",), NAMES[3:]),
        (("world_model.*.w", "actor"), [NAMES[0], *NAMES[2:]]),
    ],
)
def test_the_parameters_named_and_nothing_else(saved: Path, patterns: tuple[str, ...], taken: list[str]) -> None:
    old, new = make_state(1), make_state(2)
    start = warm_start.read(InitFromConfig(str(saved), patterns), jax.eval_shape(lambda: new.params))
    assert start is not None
    warm = warm_start.apply(start, new)
    before, after, source = flat(new.params), flat(warm.params), flat(old.params)
    for name in NAMES:
        np.testing.assert_array_equal(after[name], (source if name in taken else before)[name])
    critic = warm.params["critic"] if "critic.out" in taken else new.slow_critic
    np.testing.assert_array_equal(warm.slow_critic["out"], critic["out"])
    assert warm.slow_critic["out"] is not warm.params["critic"]["out"]  # the state is donated to the update
    assert warm.replace(params={}, slow_critic={}).opt_state is new.opt_state
    assert int(warm.step) == 2 and int(warm.retnorm.count) == 2


def test_only_what_is_taken_has_to_fit(saved: Path) -> None:
    other = make_state(2, width=5)
    shapes = jax.eval_shape(lambda: other.params)
    checkpoint_itself = str(checkpoint.latest(saved))
    assert warm_start.read(InitFromConfig(checkpoint_itself, ("*.encoder", "actor")), shapes) is not None
    for config, message in (
        (
            InitFromConfig(str(saved)),
            r"init_from.path=.*world_model\.decoder\.w is float32\[3\] there, float32\[5\] here",
        ),
        (InitFromConfig(str(saved), ("model",)), r"init_from.modules='model' .*there are actor, critic, world_model"),
        (InitFromConfig("no/such"), r"init_from.path='no/such' is not allowed: there is no checkpoint"),
    ):
        with pytest.raises(UsageError, match=message):
            warm_start.read(config, shapes)
    assert warm_start.read(InitFromConfig(), shapes) is None


def test_a_run_begins_with_parameters_and_goes_on_with_its_own(run: Run, tmp_path: Path) -> None:  # noqa: F811
    old = run(make_config(), tmp_path / "old")
    config = make_config(init_from={"path": str(tmp_path / "old"), "modules": ["world_model"]}, train_ratio=1e-3)
    new = run(config, tmp_path / "new", stop_after=10)
    assert new.schedule.updates == 0
    np.testing.assert_array_equal(new.state.params["world_model"]["w"], old.state.params["world_model"]["w"])
    (tmp_path / "old").rename(tmp_path / "moved")  # not needed any more
    run(config, tmp_path / "new", stop_after=10)


def assert_same_steps(ours: Any, theirs: Any) -> None:
    for a, b in zip(jax.tree.leaves(vars(ours[0])), jax.tree.leaves(vars(theirs[0])), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    np.testing.assert_array_equal(ours[1], theirs[1], strict=True)


@pytest.mark.parametrize("steps", [3, 40])
def test_streams_go_into_a_file_and_out_again(tmp_path: Path, steps: int) -> None:
    buffer, rng = make_buffer(47, 3), np.random.default_rng(0)
    for i in range(steps):
        buffer.add(*make_records([0, 1, 2] if i % 2 else [2, 0], rng))
    records, action = buffer.stored()
    size = int(np.bincount(records.env).max())
    found = recording.SavedReplay(SPEC, 3, size, len(records), lambda other: other.fill(records, action))
    assert recording.export_npz(found, tmp_path / "a.npz") == len(buffer)
    again = recording.open_saved_replay(tmp_path / "a.npz")
    assert (again.spec, again.num_envs, again.size, again.steps) == (SPEC, 3, size, len(buffer))
    other = recording.make_replay(ReplayConfig(capacity=3 * size, min_size=1), SPEC, num_envs=3, seed=0)
    again.fill(other)
    assert_same_steps(other.stored(), (records, action))
    batch, indices = other.sample(8, 2)  # and windows are those of the streams
    for i, (env, start) in enumerate(zip(indices.env, indices.start, strict=True)):
        rows = np.flatnonzero(records.env == env)[start : start + 2]
        np.testing.assert_array_equal(batch.reward[i], records.reward[rows])
        np.testing.assert_array_equal(batch.obs["board"][i], records.obs["board"][rows])


def test_a_specification_survives_json() -> None:
    parts = (ActionPart("categorical", 3, masked=True), ActionPart("continuous", 2, low=(-1.0, 0.0), high=(1.0, 5.0)))
    spec = EnvSpec(
        {"x": ObsSpec("vector", (2,), "float32"), "y": ObsSpec("grid", (1, 2, 2), "uint8", 3)}, ActionSpec(parts)
    )
    assert recording.spec_from_dict(json.loads(json.dumps(recording.spec_to_dict(spec)))) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": None}, "it lacks reward"),
        ({"reward": np.zeros(3, np.float32)}, "reward has 3 rows, env has 20"),
        ({"reward": np.full(20, np.nan, np.float32)}, "reward holds values that are not finite"),
        ({"env": np.zeros(20, np.float32)}, "env must number the streams"),
        ({"spec": np.array("{}")}, "it cannot be read: 'obs'"),
        ({"spec": np.array("no json")}, "it cannot be read"),
        ({"extra": np.array([object()] * 20)}, "it cannot be read: Object arrays cannot be loaded"),
    ],
)
def test_files_that_are_no_replay(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    records, action = make_records([0] * 20, np.random.default_rng(0))
    arrays: dict[str, Any] = {f"obs/{name}": value for name, value in records.obs.items()}
    arrays |= {name: getattr(records, name) for name in ("env", "reward", *recording.FLAGS)}
    arrays |= {"action": action, "spec": np.array(json.dumps(recording.spec_to_dict(SPEC)))}
    file = tmp_path / "a.npz"
    np.savez(file, **arrays)
    assert recording.open_saved_replay(file).steps == 20
    np.savez(file, **{name: value for name, value in (arrays | change).items() if value is not None})
    with pytest.raises(UsageError, match=f"offline.replay=.*{message}"):
        recording.open_saved_replay(file)


def test_learning_from_a_run_or_a_file_without_an_environment(
    run: Run,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    played = run(make_config(), tmp_path / "played")
    file = tmp_path / "replay.npz"
    assert command.main([f"--workdir={tmp_path / 'played'}", f"--npz={file}"]) == 0
    assert command.main([f"--npz={file}"]) == 0
    assert f"{file}: {len(played.buffer)} steps of 2 streams" in capsys.readouterr().out

    def learn(source: Path, name: str, **kwargs: Any) -> Any:
        return run(make_config(offline={"replay": str(source)}, total_steps=64), tmp_path / name, **kwargs)

    results = {name: learn(source, name) for name, source in (("dir", tmp_path / "played"), ("file", file))}
    for made in results.values():
        assert made._source.env is None and made._evaluations is None
        assert made.schedule.updates == int(made.state.step) == 64 * 12 // (4 * 6)
        assert_same_steps(made.buffer.stored(), played.buffer.stored())
    # The file is laid out by stream, the run's ring as well: both draw the same windows.
    assert_same(flat(results["dir"].state.params), flat(results["file"].state.params))
    assert not learn(file, "parts", stop_after=11).complete
    assert learn(file, "parts").complete
    assert_same(contents(tmp_path / "parts", fake_agent()), contents(tmp_path / "file", fake_agent()))
    assert lines(tmp_path / "parts") == lines(tmp_path / "file")


def test_the_command_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["--npz=x.txt"], "--npz=x.txt is not allowed: must end with .npz"),
        ([f"--npz={tmp_path / 'none.npz'}"], "there is no such file"),
        ([f"--workdir={tmp_path}", "--npz=x.npz"], "there is no checkpoint"),
    ):
        assert command.main(arguments) == 2
        assert message in capsys.readouterr().err
