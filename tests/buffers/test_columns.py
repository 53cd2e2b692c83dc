"""Columns return stored records bit for bit and take the expected memory."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dreamjax.buffers import columns
from dreamjax.types import ActionPart, ActionSpec, ObsSpec

ROWS = 10


def write(column: columns.Column, index: np.ndarray, values: np.ndarray) -> None:
    column.put(index, column.encode(values))


def bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(np.uint8)


OBS = {
    "board": (ObsSpec("grid", (2, 20, 10), "uint8", 2), 50),
    "odd board": (ObsSpec("grid", (1, 3, 5), "int64", 2), 2),
    "mask": (ObsSpec("mask", (200,), "int8"), 25),
    "bool mask": (ObsSpec("mask", (9,), "bool"), 2),
    "colors": (ObsSpec("grid", (1, 4, 4), "int32", 200), 16),
    "many": (ObsSpec("discrete", (), "int64", 300), 2),
    "image": (ObsSpec("image", (4, 4, 3), "uint8"), 48),
    "float image": (ObsSpec("image", (4, 4, 3), "float32"), 192),
    "vector": (ObsSpec("vector", (32,), "float32"), 64),
    "wide vector": (ObsSpec("vector", (3,), "float64"), 24),
}


@pytest.mark.parametrize("name", OBS)
def test_observations_come_back_bit_for_bit_in_their_dtype_and_promised_memory(name: str) -> None:
    spec, row_bytes = OBS[name]
    rng = np.random.default_rng(0)
    high = {"mask": 2, "image": 256}.get(spec.kind, spec.classes)
    shape = (ROWS, *spec.shape)
    values = (rng.integers(0, high, shape) if spec.dtype[0] != "f" else rng.normal(size=shape)).astype(spec.dtype)
    column = columns.obs_column(name, spec, ROWS)
    order = rng.permutation(ROWS)
    write(column, order[:4], values[order[:4]])
    write(column, order[4:], values[order[4:]])
    index = rng.integers(0, ROWS, (3, 7))
    got = column.read(index)
    assert got.dtype == spec.dtype and got.shape == (3, 7, *spec.shape)
    np.testing.assert_array_equal(bits(got), bits(values[index]))
    assert column.dump(np.arange(ROWS))["rows"].nbytes == ROWS * row_bytes


@pytest.mark.parametrize(
    ("parts", "row_bytes"),
    [
        ((ActionPart("binary", 8),), 1),
        ((ActionPart("binary", 5), ActionPart("binary", 6)), 2),
        ((ActionPart("categorical", 200),), 1),
        ((ActionPart("categorical", 257),), 2),
        ((ActionPart("categorical", 3), ActionPart("binary", 2)), 3),
        ((ActionPart("categorical", 3), ActionPart("continuous", 2)), 12),
    ],
)
def test_actions_take_the_smallest_exact_form(parts: tuple[ActionPart, ...], row_bytes: int) -> None:
    spec, rng = ActionSpec(parts), np.random.default_rng(1)
    high = [part.size if part.kind == "categorical" else 2 for part in parts for _ in range(part.columns)]
    values = np.array([[0] * len(high), [h - 1 for h in high], *rng.integers(0, high, (8, len(high)))])
    if spec.record_dtype == "float32":
        values = values + rng.uniform(-1, 0, values.shape)
    values = values.astype(spec.record_dtype)
    column = columns.action_column(spec, ROWS)
    write(column, np.arange(ROWS), values)
    got = column.read(np.arange(ROWS))
    assert got.dtype == spec.record_dtype and column.nbytes == ROWS * row_bytes
    np.testing.assert_array_equal(got, values)


def test_values_that_would_be_altered_are_refused() -> None:
    board = columns.obs_column("board", ObsSpec("grid", (1, 2, 2), "uint8", 2), ROWS)
    colors = columns.obs_column("colors", ObsSpec("grid", (1, 2, 2), "uint8", 5), ROWS)
    image = columns.obs_column("image", ObsSpec("image", (2, 2, 1), "uint8"), ROWS)
    vector = columns.obs_column("vector", ObsSpec("vector", (4,), "float32"), ROWS)
    with pytest.raises(ValueError, match=r"board: values must be 0 or 1, got 0\.\.2"):
        board.encode(np.array([[[[0, 1], [2, 0]]]]))
    with pytest.raises(ValueError, match=r"colors.*\[0, 5\)"):
        colors.encode(np.full((1, 1, 2, 2), 5))
    with pytest.raises(ValueError, match=r"colors.*-1"):
        colors.encode(np.full((1, 1, 2, 2), -1))
    with pytest.raises(ValueError, match="image: records of dtype uint8 expected, got float32"):
        image.encode(np.zeros((1, 2, 2, 1), np.float32))
    with pytest.raises(ValueError, match=r"vector: records of shape \(4,\) expected"):
        vector.encode(np.zeros((1, 5), np.float32))
    with pytest.raises(ValueError, match="vector"):
        vector.encode(np.zeros(4, np.float32))


# CodedColumn: a table of distinct values, then float32.


@settings(max_examples=50, deadline=None)
@given(
    chunks=st.lists(hnp.arrays(np.uint32, (2, 3), elements=st.integers(0, 2**32 - 1)), min_size=1, max_size=6),
    limit=st.integers(1, 40),
)
def test_any_float32_survives_before_during_and_after_promotion(chunks: list[np.ndarray], limit: int) -> None:
    column = columns.CodedColumn("vector", 2 * len(chunks) + 1, (3,))
    column.LIMIT = limit
    for place, chunk in enumerate(chunks):
        write(column, np.arange(2) + 2 * place, chunk.view(np.float32))
        written = np.concatenate(chunks[: place + 1])
        got = column.read(np.arange(2 * (place + 1)))
        np.testing.assert_array_equal(got.view(np.uint32), written)
    np.testing.assert_array_equal(column.read(np.array([2 * len(chunks)])).view(np.uint32), 0)
    assert (column.plain is None) == (len(np.unique([0, *np.concatenate(chunks).ravel()])) <= limit)


def test_special_floats_are_distinguished() -> None:
    values = np.array([[0.0, -0.0, np.nan, -np.nan, np.inf, 1e-45, 1 / 3]], np.float32)
    column = columns.CodedColumn("vector", 1, (7,))
    write(column, np.array([0]), values)
    np.testing.assert_array_equal(column.read(np.array([0])).view(np.uint32), values.view(np.uint32))
    assert len(column.table) == 7


def test_promotion_happens_at_the_65537th_distinct_value() -> None:
    values = np.arange(1 << 16, dtype=np.uint32).view(np.float32).reshape(-1, 16)
    column = columns.CodedColumn("vector", len(values) + 2, (16,))
    write(column, np.arange(len(values)) + 2, values)
    assert column.plain is None
    more = np.full((1, 16), 7.0, np.float32)
    write(column, np.array([1]), more)
    assert column.plain is not None and column.nbytes == 4 * 16 * (len(values) + 2)
    got = column.read(np.arange(len(values) + 2)).view(np.uint32)
    np.testing.assert_array_equal(got, np.concatenate([0 * more, more, values]).view(np.uint32))


def test_coded_rows_saved_before_later_values_and_promotion_stay_readable() -> None:
    values = np.random.default_rng(3).permutation(24).reshape(6, 4).astype(np.float32) / 7
    source = columns.CodedColumn("vector", 6, (4,))
    source.LIMIT = 20
    saved = []
    for rows in (np.arange(0, 2), np.arange(2, 4), np.arange(4, 6)):
        write(source, rows, values[rows])
        saved.append((rows, source.dump(rows)))
    assert source.plain is not None and "table" in saved[0][1]
    target = columns.CodedColumn("vector", 6, (4,))
    for rows, state in saved:
        target.load(rows, state)
    np.testing.assert_array_equal(target.read(np.arange(6)), values)
    target.load(*saved[0])  # coded rows into a promoted column
    np.testing.assert_array_equal(target.read(np.arange(6)), values)


# Latents.


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_latents_keep_two_bytes_a_number_and_classes(dtype: str) -> None:
    dtype_ = np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
    rng = np.random.default_rng(0)
    deter = rng.uniform(-1, 1, (ROWS, 3, 4)).astype(dtype_)
    stoch = np.eye(5, dtype=dtype_)[rng.integers(0, 5, (ROWS, 6))]
    index = np.arange(ROWS)
    half = columns.latent_column("deter", (3, 4), dtype, ROWS)
    classes = columns.latent_column("stoch", (6, 5), dtype, ROWS)
    gaussian = columns.latent_column("stoch", (6, 1), dtype, ROWS)
    write(half, index, deter)
    write(classes, index, stoch)
    write(gaussian, index, stoch[..., :1])
    assert (half.nbytes, classes.nbytes, gaussian.nbytes) == (ROWS * 24, ROWS * 6, ROWS * 12)
    got = half.read(index)
    assert got.dtype == classes.read(index).dtype == dtype_
    np.testing.assert_array_equal(classes.read(index), stoch)
    np.testing.assert_array_equal(gaussian.read(index), stoch[..., :1])
    if dtype == "float32":
        np.testing.assert_allclose(got, deter, atol=2**-12)
    else:
        np.testing.assert_array_equal(got, deter)
    assert half.dump(index)["rows"].dtype == np.uint16  # plain for any file format


def test_latents_beyond_float16_are_clipped_not_infinite() -> None:
    column = columns.latent_column("deter", (2,), "float32", 1)
    write(column, np.array([0]), np.array([[1e9, -1e9]], np.float32))
    np.testing.assert_array_equal(column.read(np.array([0])), [[65504, -65504]])


def test_loading_rows_of_another_form_is_refused() -> None:
    board = columns.obs_column("board", ObsSpec("grid", (1, 4, 4), "uint8", 2), ROWS)
    other = columns.obs_column("board", ObsSpec("grid", (1, 6, 4), "uint8", 2), ROWS)
    with pytest.raises(ValueError, match="board: saved rows"):
        other.load(np.arange(2), board.dump(np.arange(2)))
