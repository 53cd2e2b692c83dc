"""Dream reports of a made-up agent whose predictions are known."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dreamjax.reporting import visualization as vis
from dreamjax.reporting.dreams import CONTEXT_COLOR, DREAM_COLOR, LABEL, TITLE, dream_metrics, dream_report
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec

GRID = ObsSpec("grid", (1, 2, 2), "uint8", classes=2)
VECTOR = ObsSpec("vector", (2,), "float32")


class Scripted(NamedTuple):
    """Dreams what ``open_loop`` says."""

    spec: EnvSpec
    open_loop: object


def boards(*cells):
    """``[1, T, 1, 2, 2]`` from one number a board, whose bits are its cells."""
    return np.array([[[cell >> i & 1 for i in range(4)] for cell in cells]], np.uint8).reshape(1, -1, 1, 2, 2)


def test_metrics_by_hand():
    result = {
        # The episode ends with the third board; the fourth comes from a reset.
        "real": {"board": boards(0b0000, 0b0001, 0b0011, 0b1111)},
        "next": {"board": boards(0b0001, 0b0111, 0b0000)},
        "dream": {"board": boards(0b0000, 0b0001, 0b1011, 0b0000)},
        "valid": np.array([[True, True, True, False]]),
    }
    is_first = np.array([[True, False, False, True]])
    figures = dream_metrics({"board": GRID}, result, is_first, context=2)
    assert figures == {
        # Predictions of steps 1 and 2: all four cells right, then three; unchanged: three right, three right.
        "dream/board/cells_right": 7 / 8,
        "dream/board/boards_right": 1 / 2,
        "dream/board/cells_right_unchanged": 6 / 8,
        "dream/board/boards_right_unchanged": 0.0,
        # After the context of two only step 2 is valid.
        "dream/board/cells_right_open_loop": 3 / 4,
        "dream/board/boards_right_open_loop": 0.0,
    }


def test_metrics_of_vectors_and_images():
    real = np.array([[[0.0, 0.0], [1.0, 3.0]]])
    result = {
        "real": {"v": real, "i": (real * 85).astype(np.uint8)},
        "next": {"v": np.array([[[1.0, 1.0]]]), "i": np.zeros((1, 1, 2), np.uint8)},
        "dream": {"v": real, "i": (real * 85).astype(np.uint8)},
        "valid": np.ones((1, 2), bool),
    }
    spec = {"v": VECTOR, "i": ObsSpec("image", (1, 1, 2), "uint8")}
    figures = dream_metrics(spec, result, np.zeros((1, 2), bool), context=1)
    assert figures["dream/v/mse"] == pytest.approx((0 + 4) / 2)
    assert figures["dream/v/mse_unchanged"] == pytest.approx((1 + 9) / 2)
    assert figures["dream/i/mse"] == pytest.approx(((85 / 255) ** 2 + 1) / 2)  # no wrap-around of uint8
    assert figures["dream/v/mse_open_loop"] == figures["dream/i/mse_open_loop"] == 0


def test_no_counted_steps_give_nan():
    result = {
        "real": {"board": boards(0, 1)}, "next": {"board": boards(1)}, "dream": {"board": boards(0, 1)},
        "valid": np.array([[True, False]]),
    }  # fmt: skip
    figures = dream_metrics({"board": GRID}, result, np.array([[False, True]]), context=1)
    assert np.isnan(list(figures.values())).all()


@pytest.fixture
def scripted(tiny_spec):
    """Dreams an empty board and a vector of zeros, whatever is real."""

    def open_loop(params, batch, key, *, context):
        del params, key
        zeros = jax.tree.map(jnp.zeros_like, batch.obs)
        dream = {name: jnp.concatenate([batch.obs[name][:, :context], x[:, context:]], 1) for name, x in zeros.items()}
        after = jnp.cumsum(jnp.asarray(batch.is_first)[:, 1:], 1) > 0
        valid = jnp.pad(~after, ((0, 0), (1, 0)), constant_values=True)
        return {"real": batch.obs, "dream": dream, "next": {n: x[:, 1:] for n, x in zeros.items()}, "valid": valid}

    return Scripted(tiny_spec, open_loop)


def test_files(tmp_path, scripted, tiny_batch):
    batch = tiny_batch(length=9)
    batch.obs["board"][:] = 1
    figures = dream_report(scripted, {}, batch, tmp_path / "media", context=4)
    assert figures["dream/board/cells_right"] == 0 and figures["dream/board/cells_right_unchanged"] == 1
    assert sorted(p.name for p in (tmp_path / "media").iterdir()) == ["dream.gif", "dream.png"]
    with Image.open(tmp_path / "media" / "dream.gif") as gif:
        assert gif.n_frames == 9
        for t in range(9):
            gif.seek(t)
            frame = np.asarray(gif.convert("RGB"))
            assert tuple(frame[0, 0]) == (CONTEXT_COLOR if t < 4 else DREAM_COLOR)
            # Frame 3 px, then 6 px: the first board, 26 px a cell, 4 cells wide; 6 px on the dreamed one.
            assert tuple(frame[9 + 5, 9 + 5]) == vis.PALETTE[0]
            assert tuple(frame[9 + 5, 9 + 4 * 26 + 6 + 5]) == (vis.PALETTE[0] if t < 4 else vis.EMPTY)
            assert tuple(frame[9 + 5, 9 + 2 * (4 * 26 + 6) + 5]) == (vis.EMPTY if t < 4 else vis.MISSING)
    with Image.open(tmp_path / "media" / "dream.png") as png:
        strip = np.asarray(png.convert("RGB"))
    # The names of the rows, one column of context and five of dreams; rows: board three times, then vector three times.
    assert strip.shape == (TITLE + 3 * 156 + 3 * 8 + 5 * 4 + 2 * 2, LABEL + 6 * (4 * 26 + 4) + 6 * 4, 3)
    assert tuple(strip[TITLE, LABEL + 4]) == CONTEXT_COLOR and tuple(strip[TITLE, -1]) == DREAM_COLOR
    names, numbers = strip[TITLE:, :LABEL], strip[:TITLE, LABEL:]
    assert [bool(rows.any()) for rows in np.split(names[: 3 * 160], 6)] == [True, False] * 3  # a name tops its row
    assert numbers.any() and not strip[:TITLE, :LABEL].any()


def test_a_dream_needs_a_step_to_see_and_one_to_dream(tmp_path, scripted, tiny_batch):
    for context, length in ((0, 6), (1, 1)):
        with pytest.raises(ValueError, match=f"context={context} of windows of {length} steps"):
            dream_report(scripted, {}, tiny_batch(length=length), tmp_path, context=context)
    assert not list(tmp_path.iterdir())


def test_short_windows_dream_their_last_step(tmp_path, scripted, tiny_batch):
    dream_report(scripted, {}, tiny_batch(length=3), tmp_path, context=5)
    with Image.open(tmp_path / "dream.gif") as gif:
        colors = []
        for t in range(gif.n_frames):
            gif.seek(t)
            colors.append(gif.convert("RGB").getpixel((0, 0)))
    assert colors == [CONTEXT_COLOR, CONTEXT_COLOR, DREAM_COLOR]


def test_nothing_to_show(tmp_path, tiny_batch):
    spec = EnvSpec({"token": ObsSpec("discrete", (1,), "int32", classes=3)}, ActionSpec((ActionPart("binary", 1),)))
    agent = Scripted(spec, lambda params, batch, key, *, context: {"valid": jnp.ones((4, 6), bool)})
    assert dream_report(agent, {}, tiny_batch(), tmp_path) == {}
    assert not list(tmp_path.iterdir())


def test_a_real_agent(tmp_path, tiny_agent, tiny_batch):
    """What the agent's ``open_loop`` gives is what the report reads."""
    params = jax.jit(tiny_agent.init)(jax.random.key(0)).params
    figures = dream_report(tiny_agent, params, tiny_batch(), tmp_path, context=2)
    assert 0 <= figures["dream/board/cells_right"] <= 1 and figures["dream/piece/mse"] > 0
    batch = tiny_batch()
    pairs = (batch.obs["board"][:, 1:] == batch.obs["board"][:, :-1])[np.cumsum(batch.is_first[:, 1:], 1) == 0]
    assert figures["dream/board/cells_right_unchanged"] == pairs.mean()
    assert (tmp_path / "dream.gif").exists()
