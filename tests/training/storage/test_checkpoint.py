"""A checkpoint is complete or invisible, exact, verified, and cannot run code."""

from __future__ import annotations

import logging
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from dreamjax.training.storage import checkpoint
from dreamjax.training.storage.checkpoint import CheckpointError
from dreamjax.training.storage.segments import Segments
from dreamjax.types import NormalizerState, TrainState
from tests.helpers.replay import make_buffer, make_records

HOST = {
    "replay": {"head": np.arange(3), "empty": np.zeros((0, 2), np.uint8), "scalar": np.array(7)},
    "latents": np.array([1.5, -2], ml_dtypes.bfloat16),
    "list": [1, 2.5, None, "text", True, 2**70],
    "env": None,
    "array": {"value": {"dtype": 3}},  # names that the format itself uses
}


def make_state(seed: int = 0) -> TrainState:
    return TrainState(
        step=jnp.asarray(3 + seed, jnp.int32),
        key=jax.random.key(seed),
        params={"world_model": {"w": jnp.full((3, 4), seed, jnp.float32)}, "actor": {"b": jnp.ones(2, jnp.bfloat16)}},
        slow_critic={},
        opt_state={"actor": ((jnp.ones(2), ()), None)},
        retnorm=NormalizerState(jnp.zeros(()), jnp.ones(()), jnp.asarray(2, jnp.int32)),
    )


def save(workdir: Path, step: int, *, seed: int = 0, keep: int = 10, **meta: Any) -> Path:
    return checkpoint.save(workdir, step, make_state(seed), HOST, meta, keep=keep)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work directory with checkpoints at steps 10 and 20, to be copied before it is changed."""
    workdir = tmp_path_factory.mktemp("saved")
    buffer, rng = make_buffer(47, 3), np.random.default_rng(0)
    replay = Segments(buffer)
    for step in (10, 20):
        buffer.add(*make_records([0, 1, 2], rng))
        checkpoint.save(workdir, step, make_state(step // 10), HOST, {"update": step // 2}, keep=10, replay=replay)
    return workdir


@pytest.fixture
def workdir(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def like() -> TrainState:
    return jax.eval_shape(make_state)


def test_everything_comes_back_bit_for_bit(saved: Path) -> None:
    path, state, host, meta = checkpoint.restore_latest(saved, like())
    assert path == checkpoint.latest(saved)
    assert path.name == f"{20:012d}"
    chex.assert_trees_all_equal(state, make_state(2), strict=True)
    chex.assert_trees_all_equal(host, HOST, strict=True)
    assert meta == {"step": 20, "num_processes": 1, "update": 10}


def test_parameters_alone_do_not_need_the_rest(workdir: Path) -> None:
    path = checkpoint.latest(workdir)
    assert path is not None
    shutil.rmtree(path / "host")
    shutil.rmtree(path / "learner")
    params, meta = checkpoint.restore_params(path, like().params)
    chex.assert_trees_all_equal(params, make_state(2).params, strict=True)
    assert meta["update"] == 10


def test_damage_to_any_file_is_named_and_the_checkpoint_before_is_used(workdir: Path) -> None:
    before, path = checkpoint.all_checkpoints(workdir)
    files = [file for file in path.rglob("*") if file.is_file()]
    assert len(files) > 15
    assert any(file.suffix == ".npz" for file in files)
    for file in files:
        good = file.read_bytes()
        bad = {"truncated": good[:-1], "flipped": good[:-1] + bytes([good[-1] ^ 1]), "gone": None} if good else {}
        for content in bad.values() if good else [b"x", None]:
            file.unlink()  # a segment of replay is one file with that of the checkpoint before
            if content is not None:
                file.write_bytes(content)
            with pytest.raises(CheckpointError, match=file.name):
                checkpoint.restore(path, like())
            with pytest.warns(UserWarning, match=rf"000000000020 is damaged: .*{file.name}"):
                assert checkpoint.intact(workdir) == before
            file.write_bytes(good)
    checkpoint.verify(path)
    (path / "host" / "0000.npy").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"000000000020 is damaged: host/0000\.npy"):
        used, state, _, _ = checkpoint.restore_latest(workdir, like())
    assert used == before
    chex.assert_trees_all_equal(state, make_state(1), strict=True)


def test_damage_to_what_checkpoints_share_is_found_in_all_of_them(workdir: Path) -> None:
    shared = checkpoint.folder(workdir) / f"{10:012d}" / "replay" / "segment.000000.npz"
    other = checkpoint.folder(workdir) / f"{20:012d}" / "replay" / "segment.000000.npz"
    other.unlink()
    other.hardlink_to(shared)  # copying the directory had parted them
    with other.open("r+b") as file:
        file.seek(200)
        file.write(b"xx")
    message = r"(?s)0020 is damaged: replay/segment.*0010 is damaged: replay/segment"
    with pytest.raises(CheckpointError, match=message), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checkpoint.restore_latest(workdir, like())


def test_a_file_too_many_is_damage(workdir: Path) -> None:
    path = checkpoint.latest(workdir)
    assert path is not None
    (path / "host" / "9999.npy").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="does not belong"):
        checkpoint.verify(path)


def test_no_intact_checkpoint_is_an_error_that_names_them_all(workdir: Path) -> None:
    for path in checkpoint.all_checkpoints(workdir):
        (path / "meta.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"(?s)0020.*0010"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checkpoint.restore_latest(workdir, like())
    with pytest.raises(CheckpointError, match="no checkpoint"):
        checkpoint.restore_latest(workdir / "nowhere", like())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.replace(params=s.params | {"actor": {"b": jnp.ones(3, jnp.bfloat16)}}), r"actor\.b.*\[2\].*\[3\]"),
        (lambda s: s.replace(params=s.params | {"actor": {"b": jnp.ones(2)}}), r"actor\.b.*bfloat16.*float32"),
        (lambda s: s.replace(params=s.params | {"critic": {"b": jnp.ones(2)}}), r"critic\.b is nothing there"),
        (lambda s: s.replace(step=jnp.zeros((), jnp.float32)), r"step.*int32.*float32"),
    ],
)
def test_another_model_is_refused_by_the_name_of_what_differs(saved: Path, change: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        checkpoint.restore_latest(saved, jax.eval_shape(lambda: change(make_state())))


def test_leaves_of_removed_fields_are_ignored_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A checkpoint of a version that had more is restored; its other leaves are exact."""
    caplog.set_level(logging.INFO, "dreamjax")
    old = make_state(4)
    more = old.replace(params=old.params | {"novelty": {"low": jnp.ones(2)}}, ring={"age": jnp.zeros(3, jnp.int32)})
    checkpoint.save(tmp_path, 10, more, HOST, {}, keep=1)
    path, state, host, _ = checkpoint.restore_latest(tmp_path, like())
    chex.assert_trees_all_equal(state, old, strict=True)
    chex.assert_trees_all_equal(host, HOST, strict=True)
    chex.assert_trees_all_equal(checkpoint.restore_params(path, like().params)[0], old.params, strict=True)
    lines = [record.getMessage() for record in caplog.records]
    assert f"checkpoint {path}: novelty.low of params are not used any more" in lines
    assert f"checkpoint {path}: ring.age of learner are not used any more" in lines


def test_an_interrupted_save_is_invisible_and_cleared_away(workdir: Path) -> None:
    there = checkpoint.folder(workdir)
    (there / "tmp.000000000030" / "params").mkdir(parents=True)
    assert checkpoint.latest(workdir) == there / f"{20:012d}"
    save(workdir, 30)
    assert sorted(path.name for path in there.iterdir()) == [f"{step:012d}" for step in (10, 20, 30)]


def test_a_save_that_fails_leaves_what_was_there(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.np, "save", full)
    with pytest.raises(CheckpointError, match=r"No space left.*000000000020"):
        save(workdir, 30)
    assert [path.name for path in checkpoint.folder(workdir).iterdir()].count("tmp.000000000030") == 0
    checkpoint.verify(checkpoint.latest(workdir))  # type: ignore[arg-type]


def test_saving_again_at_the_same_step_supersedes_without_replacing(workdir: Path) -> None:
    again = save(workdir, 20, seed=7)
    assert checkpoint.latest(workdir) == again
    assert checkpoint.step_of(again) == 20
    chex.assert_trees_all_equal(checkpoint.restore(again, like())[0], make_state(7), strict=True)
    checkpoint.verify(checkpoint.folder(workdir) / f"{20:012d}")


def test_saving_at_one_step_goes_on_after_older_ones_were_deleted(tmp_path: Path) -> None:
    names = [save(tmp_path, 10, keep=2).name for _ in range(4)]
    assert names == ["000000000010", "000000000010.1", "000000000010.2", "000000000010.3"]
    assert [path.name for path in checkpoint.all_checkpoints(tmp_path)] == names[2:]


def test_a_replaced_checkpoint_is_deleted_after_the_new_one_is_complete(workdir: Path) -> None:
    old = checkpoint.latest(workdir)
    assert old is not None
    new = checkpoint.save(workdir, 20, make_state(7), HOST, {}, keep=10, replaces=old)
    assert not old.exists() and checkpoint.latest(workdir) == new
    assert [checkpoint.step_of(path) for path in checkpoint.all_checkpoints(workdir)] == [10, 20]


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    for step, score in ((10, 1.0), (20, 5.0), (30, None), (40, 2.0), (50, None)):
        save(tmp_path, step, keep=2, score=score)
    assert [checkpoint.step_of(path) for path in checkpoint.all_checkpoints(tmp_path)] == [20, 40, 50]


def test_a_relative_work_directory_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("run"), 10)
    chex.assert_trees_all_equal(checkpoint.restore_latest("run", like())[1], make_state(), strict=True)


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    for name in ("000000000020.10", "000000000020.9", "000000000020", "1000000000000"):
        (checkpoint.folder(tmp_path) / name).mkdir(parents=True)
    assert [path.name for path in checkpoint.all_checkpoints(tmp_path)] == [
        "000000000020", "000000000020.9", "000000000020.10", "1000000000000",
    ]  # fmt: skip


def test_objects_are_neither_written_nor_read(workdir: Path) -> None:
    with pytest.raises(CheckpointError, match="not object"):
        checkpoint.save(workdir, 30, make_state(), {"bad": object()}, {}, keep=2)
    with pytest.raises(CheckpointError):
        checkpoint.save(workdir, 30, make_state(), {"bad": np.array([object()])}, {}, keep=2)

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("code ran",))

    path = checkpoint.latest(workdir)
    assert path is not None
    (path / "host" / "0000.npy").write_bytes(pickle.dumps(Bomb()))
    checkpoint._write_manifest(path)  # a stranger can make a manifest, too
    with pytest.raises(CheckpointError, match="pickle"):
        checkpoint.restore(path, like())
