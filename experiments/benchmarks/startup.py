"""From the command to the first update of a run: with an empty compilation cache, then with a full one."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LIMIT_S = 600.0


def measure_startup(size: str) -> list[dict[str, Any]]:
    """Rows of the benchmark: a run on CartPole at DreamerV3's ``size`` (16 x 64), replay as short as one window allows."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("empty", "full"):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken = _first_update(size, Path(folder) / name, Path(folder) / "cache")
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            rows.append(
                {
                    "name": f"to the first update, {name} cache, {size}",
                    "unit": "s",
                    "value": taken,
                    "least": taken,
                    "greatest": taken,
                    "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                }
            )
    return rows


def _first_update(size: str, workdir: Path, cache: Path) -> float:
    fields = {
        "batch_size": 16, "batch_length": 64, "num_envs": 4, "total_steps": 100_000, "replay.min_size": 512,
        "train_ratio": 64.0, "log.metrics_every": 1, "eval.every": 0, "log.tensorboard": False,
    }  # fmt: skip
    command = [sys.executable, "-m", "dreamjax", "train", f"--config=cartpole:{size}", f"--workdir={workdir}"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, *(f"--config.{name}={value}" for name, value in fields.items())],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        while time.perf_counter() - began < LIMIT_S:
            if _updates(workdir / "metrics.jsonl"):
                return time.perf_counter() - began
            if process.poll() is not None:
                break
            time.sleep(0.02)
        output = process.communicate(timeout=1)[0].decode() if process.poll() is not None else "too slow"
        raise RuntimeError(f"no update was made: {output[-2000:]}")
    finally:
        process.kill()
        process.wait()


def _updates(file: Path) -> bool:
    """Whether a line of an update stands in the metrics."""
    lines = file.read_text().splitlines() if file.exists() else []
    return any(line.endswith("}") and json.loads(line).get("update", 0) > 0 for line in lines)
