"""Replay saved in segments: each step once, every checkpoint whole, and deleting one harms no other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import chex
import numpy as np
import pytest

from dreamjax.training.storage import checkpoint, segments
from dreamjax.training.storage.segments import Segments
from tests.helpers.replay import LATENTS, make_buffer, make_latents, make_records
from tests.training.storage.test_checkpoint import like, make_state

KINDS: dict[str, dict[str, Any]] = {
    "uniform": {},
    "prioritized": {"sampler": "prioritized", "online": 0.5, "latent_spec": LATENTS},
}


def advance(buffer: Any, rng: np.random.Generator, steps: int) -> None:
    for i in range(steps):
        env = [0, 1, 2] if i % 2 else [2, 0]
        buffer.add(*make_records(env, rng), make_latents((len(env),), rng))
        if buffer.num_windows(3):
            _, indices = buffer.sample(2, 3)
            buffer.update(indices, priority=rng.random((2, 3)), latents=make_latents((2, 3), rng))


def save(workdir: Path, step: int, buffer: Any, replay: Segments) -> Path:
    """What ``checkpoint.save`` does with the replay: written beside its place, then moved there."""
    temporary, final = workdir / f"tmp.{step}", workdir / f"{step:03d}"
    replay.write(temporary)
    replay.written(temporary.rename(final))
    return final


def loaded(path: Path, rest: dict[str, np.ndarray], **kind: Any) -> dict[str, np.ndarray]:
    buffer = make_buffer(47, 3, seed=99, **kind)
    Segments(buffer).load(path, rest)
    return buffer.state_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_every_checkpoint_stays_restorable_while_the_ring_wraps(kind: str, tmp_path: Path) -> None:
    buffer, rng = make_buffer(47, 3, **KINDS[kind]), np.random.default_rng(0)
    replay, saved = Segments(buffer), {}
    for step, more in enumerate((0, 4, 1, 0, 9, 6, 30, 2)):  # nothing new, a little, more than the ring holds
        advance(buffer, rng, more)
        saved[save(tmp_path, step, buffer, replay)] = buffer.state_dict()
    for path, state in saved.items():
        chex.assert_trees_all_equal(loaded(path, state, **KINDS[kind]), state, strict=True)
    # And from a checkpoint in the middle another run goes on, whatever was saved after it.
    middle = list(saved)[3]
    again = make_buffer(47, 3, **KINDS[kind])
    other = Segments(again)
    other.load(middle, saved[middle])
    advance(again, np.random.default_rng(5), 7)
    path = save(tmp_path, 30, again, other)
    chex.assert_trees_all_equal(loaded(path, again.dump_rest(), **KINDS[kind]), again.state_dict(), strict=True)
    for path, state in saved.items():
        chex.assert_trees_all_equal(loaded(path, state, **KINDS[kind]), state, strict=True)


def test_steps_are_written_once_and_linked(tmp_path: Path) -> None:
    buffer, rng = make_buffer(300, 3), np.random.default_rng(0)
    replay, paths = Segments(buffer), []
    for step in range(4):
        advance(buffer, rng, 6)
        paths.append(save(tmp_path, step, buffer, replay))
    files = segments.segments(paths[-1])
    assert [os.stat(file).st_nlink for file in files] == [4, 3, 2, 1]
    assert [len(segments.read(file)["reward/rows"]) for file in files] == [15] * 4  # of 6 steps: 2 and 3 by turns


def test_deleting_checkpoints_frees_only_what_no_other_holds(tmp_path: Path) -> None:
    buffer, rng = make_buffer(47, 3), np.random.default_rng(0)
    replay, state = Segments(buffer), {}
    for step in range(12):
        advance(buffer, rng, 4)
        state[save(tmp_path, step, buffer, replay)] = buffer.state_dict()
        for path in list(state)[:-2]:
            shutil.rmtree(path, ignore_errors=True)
    kept = list(state)[-2:]
    for path in kept:
        chex.assert_trees_all_equal(loaded(path, state[path]), state[path], strict=True)
    names = {file.name for path in kept for file in segments.segments(path)}
    assert "segment.000000.npz" not in names  # all of it was overwritten, so nobody links it
    shutil.rmtree(kept[1])
    chex.assert_trees_all_equal(loaded(kept[0], state[kept[0]]), state[kept[0]], strict=True)


def test_the_number_of_segments_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MOST", 3)
    buffer, rng = make_buffer(47, 3), np.random.default_rng(0)
    replay, counts = Segments(buffer), []
    for step in range(6):
        advance(buffer, rng, 2)
        path = save(tmp_path, step, buffer, replay)
        counts.append(len(segments.segments(path)))
        chex.assert_trees_all_equal(loaded(path, buffer.dump_rest()), buffer.state_dict(), strict=True)
    assert counts == [1, 2, 3, 1, 2, 3]


def test_what_cannot_be_linked_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer, rng = make_buffer(47, 3), np.random.default_rng(0)
    replay = Segments(buffer)
    for step in range(2):
        advance(buffer, rng, 3)
        path = save(tmp_path, step, buffer, replay)

    def refuse(*args: Any) -> None:
        raise OSError(1, "Operation not permitted")

    advance(buffer, rng, 3)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse)
        path = save(tmp_path, 2, buffer, replay)
        assert len(segments.segments(path)) == 3
        chex.assert_trees_all_equal(loaded(path, buffer.dump_rest()), buffer.state_dict(), strict=True)
    segments.segments(path)[0].unlink()
    path = save(tmp_path, 3, buffer, replay)
    assert len(segments.segments(path)) == 1
    chex.assert_trees_all_equal(loaded(path, buffer.dump_rest()), buffer.state_dict(), strict=True)


def checkpointed(workdir: Path, step: int, buffer: Any, replay: Segments) -> Path:
    return checkpoint.save(workdir, step, make_state(), {"replay": buffer.dump_rest()}, {}, keep=9, replay=replay)


def test_a_save_that_fails_is_made_up_for_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer, rng = make_buffer(47, 3), np.random.default_rng(0)
    replay = Segments(buffer)
    advance(buffer, rng, 3)
    checkpointed(tmp_path, 0, buffer, replay)
    advance(buffer, rng, 3)

    def refuse(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write_manifest", refuse)
        with pytest.raises(checkpoint.CheckpointError, match="No space left"):
            checkpointed(tmp_path, 1, buffer, replay)
    advance(buffer, rng, 3)
    path = checkpointed(tmp_path, 2, buffer, replay)
    _, host, _ = checkpoint.restore(path, like())
    chex.assert_trees_all_equal(
        loaded(checkpoint.replay_folder(path), host["replay"]), buffer.state_dict(), strict=True
    )


def test_a_linked_file_keeps_the_sum_it_was_written_with(tmp_path: Path) -> None:
    """Damage that comes between two saves is not signed by the second."""
    buffer, rng = make_buffer(47, 3), np.random.default_rng(0)
    replay = Segments(buffer)
    advance(buffer, rng, 3)
    first = checkpointed(tmp_path, 0, buffer, replay)
    (file,) = segments.segments(checkpoint.replay_folder(first))
    with file.open("r+b") as handle:
        handle.seek(100)
        handle.write(b"x")
    second = checkpointed(tmp_path, 1, buffer, replay)
    for path in (first, second):
        with pytest.raises(checkpoint.CheckpointError, match=r"replay/segment\.000000\.npz has changed"):
            checkpoint.verify(path)


def test_a_missing_segment_is_an_error(tmp_path: Path) -> None:
    buffer, rng = make_buffer(300, 3), np.random.default_rng(0)
    replay = Segments(buffer)
    for step in range(3):
        advance(buffer, rng, 3)
        path = save(tmp_path, step, buffer, replay)
    for missing, message in ((0, "saved replay starts"), (1, "saved replay starts"), (2, "saved replay ends at")):
        folder = Path(shutil.copytree(path, tmp_path / f"without {missing}"))
        segments.segments(folder)[missing].unlink()
        with pytest.raises(ValueError, match=message):
            Segments(make_buffer(300, 3)).load(folder, buffer.dump_rest())


def test_a_checkpoint_from_before_there_were_segments_is_read(tmp_path: Path) -> None:
    buffer = make_buffer(47, 3)
    advance(buffer, np.random.default_rng(0), 9)
    state = buffer.state_dict()  # the whole of it was with the rest
    chex.assert_trees_all_equal(loaded(tmp_path / "none", state), state, strict=True)
