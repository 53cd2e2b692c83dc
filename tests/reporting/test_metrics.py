"""metrics.jsonl: strict JSON, complete lines, no repeated steps."""

import json
import math
import resource
import signal

import numpy as np
import pytest

from dreamjax.reporting import metrics as metrics_lib
from dreamjax.reporting.metrics import MetricsFile, encode_line, read_metrics


def strict(line):
    def refuse(text):
        raise AssertionError(f"{text} is not JSON")

    return json.loads(line, parse_constant=refuse)


def test_not_finite_values_are_null_and_named():
    line = encode_line({"step": 3, "a": math.nan, "b": math.inf, "c": -math.inf, "d": 0.1})
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert strict(line) == {
        "step": 3, "a": None, "b": None, "c": None, "d": 0.1, "nonfinite": {"a": "nan", "b": "inf", "c": "-inf"}
    }  # fmt: skip


def test_finite_values_round_trip_exactly():
    values = {"a": 1 / 3, "b": float(np.float32(0.1)), "c": 1e300, "d": 5e-324}
    assert strict(encode_line(values)) == values


def test_continue_from_drops_later_lines(tmp_path):
    file = MetricsFile(tmp_path / "m.jsonl")
    offsets = []
    for step in range(4):
        file.append({"step": step})
        offsets.append(file.offset)
    file.close()

    again = MetricsFile(tmp_path / "m.jsonl")
    assert again.continue_from(offsets[1])
    again.append({"step": 20})
    again.close()
    assert [line["step"] for line in read_metrics(tmp_path / "m.jsonl")] == [0, 1, 20]


@pytest.mark.parametrize("block", [1, 3, 1 << 16])
def test_continue_inside_a_line_or_past_the_end_keeps_whole_lines(tmp_path, monkeypatch, block):
    monkeypatch.setattr(metrics_lib, "BLOCK", block)
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"step": 0}\n{"step": 1}\n{"st')
    for offset, kept in ((999, [0, 1]), (20, [0]), (12, [0]), (5, []), (0, [])):
        file = MetricsFile(path)
        assert file.continue_from(offset) == (offset in (12, 0))
        file.append({"step": 7})
        file.close()
        assert [line["step"] for line in read_metrics(path)] == [*kept, 7]
        path.write_bytes(b'{"step": 0}\n{"step": 1}\n{"st')


def test_without_continue_the_first_line_replaces_the_file(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"step": 0}\n')
    file = MetricsFile(path)
    assert path.read_bytes() == b'{"step": 0}\n'  # opening the file does not change it
    file.append({"step": 5})
    file.close()
    assert path.read_bytes() == b'{"step": 5}\n'


def test_reader_leaves_out_a_line_cut_short(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"step": 0}\n{"step": 1, "a"')
    assert list(read_metrics(path)) == [{"step": 0}]


def test_a_full_disk_leaves_whole_lines(tmp_path):
    path = tmp_path / "m.jsonl"
    file = MetricsFile(path)
    file.append({"step": 0})
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # Room for a part of the next line: the write is short first, then fails.
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, limits[1]))
        with pytest.raises(OSError):
            file.append({"step": 1})
        assert path.read_bytes() == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    file.append({"step": 1})
    file.close()
    assert [line["step"] for line in read_metrics(path)] == [0, 1]
