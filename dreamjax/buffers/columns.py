"""Compact, lossless columns of records in host memory.

A column stores ``rows`` records of one entry, addressed by integer arrays of any shape. ``encode`` checks and converts
records, ``put`` stores encoded records, and ``read`` returns records bit for bit, except for latents, which are rounded.
``dump`` and ``load`` convert stored rows to and from plain NumPy arrays.
"""

from __future__ import annotations

from typing import Protocol

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike

from dreamjax.types import ActionSpec, ObsSpec

State = dict[str, np.ndarray]


class Column(Protocol):
    """One entry of the records; ``index`` is an integer array of rows, of any shape ``[...]``."""

    def encode(self, values: np.ndarray) -> np.ndarray: ...
    def put(self, index: np.ndarray, encoded: np.ndarray) -> None: ...
    def read(self, index: np.ndarray) -> np.ndarray: ...
    def dump(self, index: np.ndarray) -> State: ...
    def load(self, index: np.ndarray, state: State) -> None: ...
    @property
    def nbytes(self) -> int: ...


class _Array:
    """A column of one array ``[rows, ...]``; subclasses encode and decode the records.

    Args:
        name: name of the entry in messages.
        rows: number of records stored.
        shape, dtype: shape and dtype of one record.
        stored_shape, stored_dtype: shape and dtype of one stored record.
    """

    def __init__(
        self,
        name: str,
        rows: int,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        stored_shape: tuple[int, ...],
        stored_dtype: DTypeLike,
    ) -> None:
        self.name, self.shape, self.dtype = name, tuple(shape), np.dtype(dtype)
        self.array = np.zeros((rows, *stored_shape), stored_dtype)

    def check(self, values: np.ndarray, kinds: str) -> np.ndarray:
        """Returns ``values`` as an array ``[n, *shape]``; raises ValueError on another shape or kind of dtype."""
        values = np.asarray(values)
        if values.shape[1:] != self.shape or values.ndim != len(self.shape) + 1:
            raise ValueError(f"{self.name}: records of shape {self.shape} expected, got an array {values.shape}")
        if values.dtype.kind not in kinds:
            raise ValueError(f"{self.name}: records of dtype {self.dtype} expected, got {values.dtype}")
        return values

    def put(self, index: np.ndarray, encoded: np.ndarray) -> None:
        self.array[index] = encoded

    def dump(self, index: np.ndarray) -> State:
        return {"rows": self.array[index]}

    def load(self, index: np.ndarray, state: State) -> None:
        rows = state["rows"]
        if rows.shape[1:] != self.array.shape[1:] or rows.dtype != self.array.dtype:
            raise ValueError(
                f"{self.name}: saved rows are {rows.dtype} {rows.shape[1:]}, "
                f"this buffer has {self.array.dtype} {self.array.shape[1:]}"
            )
        self.array[index] = rows

    @property
    def nbytes(self) -> int:
        return self.array.nbytes


class FloatColumn(_Array):
    """Floats, or integers of an image, in their own dtype."""

    def __init__(self, name: str, rows: int, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        super().__init__(name, rows, shape, dtype, shape, dtype)

    def encode(self, values: np.ndarray) -> np.ndarray:
        kinds = "fiub" if self.dtype.kind == "f" else self.dtype.kind
        return self.check(values, kinds).astype(self.dtype, copy=False)

    def read(self, index: np.ndarray) -> np.ndarray:
        return self.array.take(index, axis=0)


class IntegerColumn(_Array):
    """Integers in ``[0, limit)``, in the smallest unsigned dtype that represents them."""

    def __init__(self, name: str, rows: int, shape: tuple[int, ...], dtype: DTypeLike, *, limit: int) -> None:
        super().__init__(name, rows, shape, dtype, shape, np.min_scalar_type(max(limit - 1, 1)))
        self.limit = limit

    def encode(self, values: np.ndarray) -> np.ndarray:
        values = self.check(values, "iub")
        if values.size and (values.min() < 0 or values.max() >= self.limit):
            raise ValueError(f"{self.name}: values must lie in [0, {self.limit}), got {values.min()}..{values.max()}")
        return values.astype(self.array.dtype)

    def read(self, index: np.ndarray) -> np.ndarray:
        return self.array.take(index, axis=0).astype(self.dtype, copy=False)


class BitColumn(_Array):
    """Zeros and ones, eight per byte: a board ``(2, 20, 10)`` takes 50 bytes."""

    def __init__(self, name: str, rows: int, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.size = int(np.prod(shape, dtype=np.int64))
        super().__init__(name, rows, shape, dtype, ((self.size + 7) // 8,), np.uint8)

    def encode(self, values: np.ndarray) -> np.ndarray:
        values = self.check(values, "iub")
        if values.size and (values.min() < 0 or values.max() > 1):
            raise ValueError(f"{self.name}: values must be 0 or 1, got {values.min()}..{values.max()}")
        return np.packbits(values.reshape(len(values), self.size).astype(bool, copy=False), axis=1)

    def read(self, index: np.ndarray) -> np.ndarray:
        bits = np.unpackbits(self.array.take(index, axis=0), axis=-1, count=self.size)
        bits = bits.reshape(*index.shape, *self.shape)
        return bits.view(self.dtype) if self.dtype.itemsize == 1 else bits.astype(self.dtype)


class CodedColumn:
    """A float32 vector as uint16 codes, indices into a table of the distinct values written so far; half the memory.

    The encoding is lossless: values are compared by their bits, so NaN and -0.0 are preserved. Codes are assigned in
    order of appearance and never change, so rows saved earlier can be read with a later table. When a 65,537th distinct
    value appears, the column is permanently converted to float32. The entry ``piece`` of Tetris (one-hots, fractions of
    small integers, ``steps / max``) has about a thousand distinct values and stays coded; continuous vectors are
    converted early, while few rows are stored.
    """

    LIMIT = 1 << 16

    def __init__(self, name: str, rows: int, shape: tuple[int, ...]) -> None:
        self.name, self.rows, self.shape = name, rows, tuple(shape)
        self.codes = IntegerColumn(name, rows, shape, np.uint16, limit=self.LIMIT)
        self.plain: FloatColumn | None = None
        self._checker = FloatColumn(name, 0, shape, np.float32)
        self._set_table(np.zeros(1, np.uint32))  # code 0 is 0.0, so unwritten rows are read as zeros

    def _set_table(self, bits: np.ndarray) -> None:
        """Sets the table to ``bits`` (uint32, distinct, in order of code) and sorts a copy for encoding."""
        self.table = bits
        self.order = np.argsort(bits, kind="stable").astype(np.uint16)
        self.sorted = bits[self.order]

    def _find(self, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        place = np.searchsorted(self.sorted, bits)
        place[place == len(self.sorted)] = 0
        return place, self.sorted[place] == bits

    def encode(self, values: np.ndarray) -> np.ndarray:
        values = np.ascontiguousarray(self._checker.encode(values))
        if self.plain is not None:
            return values
        bits = values.view(np.uint32)
        place, known = self._find(bits)
        if not known.all():
            fresh = np.unique(bits[~known])
            if len(self.table) + len(fresh) > self.LIMIT:
                self._promote()
                return values
            self._set_table(np.concatenate([self.table, fresh]))
            place, _ = self._find(bits)
        return self.order[place]

    def _promote(self) -> None:
        self.plain = FloatColumn(self.name, self.rows, self.shape, np.float32)
        step = 1 << 16
        for low in range(0, self.rows, step):
            codes = self.codes.array[low : low + step]
            if codes.any():  # writing zeros would allocate the pages of unwritten rows
                self.plain.array[low : low + step] = self.table.take(codes).view(np.float32)
        self.codes = IntegerColumn(self.name, 0, self.shape, np.uint16, limit=self.LIMIT)
        self._set_table(np.zeros(1, np.uint32))

    def put(self, index: np.ndarray, encoded: np.ndarray) -> None:
        (self.plain or self.codes).put(index, encoded)

    def read(self, index: np.ndarray) -> np.ndarray:
        if self.plain is not None:
            return self.plain.read(index)
        return self.table.view(np.float32).take(self.codes.read(index))

    def dump(self, index: np.ndarray) -> State:
        if self.plain is not None:
            return self.plain.dump(index)
        return {"table": self.table.copy(), **self.codes.dump(index)}

    def load(self, index: np.ndarray, state: State) -> None:
        if "table" not in state and self.plain is None:
            self._promote()
        if self.plain is None:
            self.codes.load(index, state)
            self._set_table(np.array(state["table"], np.uint32))
        elif "table" in state:
            self.plain.load(index, {"rows": state["table"].view(np.float32).take(state["rows"])})
        else:
            self.plain.load(index, state)

    @property
    def nbytes(self) -> int:
        if self.plain is not None:
            return self.plain.nbytes
        return self.codes.nbytes + self.table.nbytes + self.order.nbytes + self.sorted.nbytes


class HalfColumn(_Array):
    """Floats of latents in two bytes: bfloat16 if that is their dtype, else float16, clipped to +-65504."""

    def __init__(self, name: str, rows: int, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.half = np.dtype(ml_dtypes.bfloat16 if np.dtype(dtype) == ml_dtypes.bfloat16 else np.float16)
        super().__init__(name, rows, shape, dtype, shape, np.uint16)

    def encode(self, values: np.ndarray) -> np.ndarray:
        values = self.check(values, "fV").astype(self.dtype, copy=False)  # V is the kind of bfloat16
        if self.half == np.float16:
            values = np.clip(values, -65504, 65504)
        return values.astype(self.half).view(np.uint16)

    def read(self, index: np.ndarray) -> np.ndarray:
        return self.array.take(index, axis=0).view(self.half).astype(self.dtype)


class OneHotColumn(_Array):
    """One-hot vectors along the last axis, stored as the index of the class (uint8 up to 256 classes)."""

    def __init__(self, name: str, rows: int, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.classes = shape[-1]
        super().__init__(name, rows, shape, dtype, shape[:-1], np.min_scalar_type(self.classes - 1))

    def encode(self, values: np.ndarray) -> np.ndarray:
        return self.check(values, "fV").argmax(-1).astype(self.array.dtype)

    def read(self, index: np.ndarray) -> np.ndarray:
        classes = self.array.take(index, axis=0)
        return (classes[..., None] == np.arange(self.classes, dtype=classes.dtype)).astype(self.dtype)


def obs_column(name: str, spec: ObsSpec, rows: int) -> Column:
    """Returns the most compact lossless column for an observation."""
    if spec.kind == "mask" or (spec.kind == "grid" and spec.classes == 2):
        return BitColumn(name, rows, spec.shape, spec.dtype)
    if spec.classes > 0:
        return IntegerColumn(name, rows, spec.shape, spec.dtype, limit=spec.classes)
    if spec.kind == "vector" and np.dtype(spec.dtype) == np.float32:
        return CodedColumn(name, rows, spec.shape)
    return FloatColumn(name, rows, spec.shape, spec.dtype)


def action_column(spec: ActionSpec, rows: int) -> Column:
    """Returns packed bits if all parts are binary, float32 if one is continuous, else the smallest integers."""
    kinds = {part.kind for part in spec.parts}
    shape = (spec.record_size,)
    if kinds == {"binary"}:
        return BitColumn("action", rows, shape, spec.record_dtype)
    if "continuous" in kinds:
        return FloatColumn("action", rows, shape, spec.record_dtype)
    limit = max(part.size if part.kind == "categorical" else 2 for part in spec.parts)
    return IntegerColumn("action", rows, shape, spec.record_dtype, limit=limit)


def latent_column(name: str, shape: tuple[int, ...], dtype: str, rows: int) -> Column:
    """Returns a column of two bytes per number, or of class indices for a categorical ``stoch``."""
    if name == "stoch" and shape[-1] > 1:
        return OneHotColumn(name, rows, shape, dtype)
    return HalfColumn(name, rows, shape, dtype)
