"""Runs of several processes, over loopback: the same update, one run that stops and goes on, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from dreamjax.agents.agent import make_agent
from dreamjax.config import ConfigError, to_dict
from dreamjax.training.runtime import hosts
from dreamjax.training.storage import checkpoint, recording
from tests.helpers import ROOT, runs
from tests.helpers.configs import make_tiny_config
from tests.helpers.xla import QUICK, QUICK_FLAGS
from tests.training import host_worker

LIMIT = 240  # seconds that a run of processes may take


def start(*command: str, devices: int = 2) -> list[subprocess.Popen[str]]:
    """Two processes of ``python -m COMMAND``, ``{port}`` and ``{index}`` filled in; the last one has index 0."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    environ |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices), "XLA_FLAGS": QUICK_FLAGS}
    return [
        subprocess.Popen(
            [sys.executable, "-m", *(part.format(port=port, index=i) for part in command)],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in (1, 0)
    ]


def finish(processes: list[subprocess.Popen[str]], code: int = 0, limit: float = LIMIT) -> list[str]:
    """What the processes printed, by index; they must end with ``code`` in time."""
    end = time.monotonic() + limit
    try:
        texts = [process.communicate(timeout=max(end - time.monotonic(), 1))[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [code, code], "\n".join(texts)
    return texts[::-1]


def test_two_processes_give_the_update_of_one(tmp_path: Path) -> None:
    """Contract 28, with the other layouts of ``test_update``: parameters, optimizer, return scale, ring, metrics; each of
    the processes splits its part of the batch over two devices, as ``compile_update`` does."""
    processes = start("tests.training.host_worker", str(tmp_path), "127.0.0.1:{port}", "2", "{index}")
    agent = host_worker.make()
    update = jax.jit(agent.update, compiler_options=QUICK)
    state = jax.jit(agent.init, compiler_options=QUICK)(jax.random.key(0))
    for batch in host_worker.batches():
        state, metrics, outs = update(state, batch)
    expected = host_worker.flat(state, metrics)
    finish(processes)
    found = [dict(np.load(tmp_path / f"{i}.npz")) for i in range(2)]
    rows = [each.pop("priority") for each in found]
    np.testing.assert_allclose(np.concatenate(rows), outs.priority, rtol=1e-4, atol=1e-5)
    for each in found:
        assert each.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(each[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def train(tmp_path: Path, config: Any, *arguments: str, name: str = "run") -> list[subprocess.Popen[str]]:
    file = tmp_path / "config.py"
    file.write_text(f"def get_config(variant=''):\n    return {to_dict(config)!r}\n")
    return start(
        "experiments.train", f"--config={file}", f"--workdir={tmp_path / name}", *arguments,
        "--distributed.coordinator=127.0.0.1:{port}", "--distributed.num_processes=2",
        "--distributed.process_id={index}",
    )  # fmt: skip


@pytest.mark.slow  # minutes where cores are shared
def test_a_run_of_two_processes_stops_goes_on_and_completes(tmp_path: Path) -> None:
    """A signal to one of them stops both; another number of processes is refused; then both go on to the end, which is
    bit for bit that of two processes which were not stopped: learner, and replay and environments of each."""
    config = make_tiny_config(
        total_steps=2000, num_envs=4, train_ratio=1.0, batch_size=8,
        env={"action_mode": "direct", "kwargs": {"max_episode_length": 9}},
        checkpoint={"every": 10**6}, log={"metrics_every": 2, "every": 0.1}, parallel={"num_devices": 0},
    )  # fmt: skip
    processes = train(tmp_path, config)
    metrics = tmp_path / "run" / "metrics.jsonl"
    end = time.monotonic() + LIMIT
    while not (metrics.exists() and metrics.read_text().count("\n") > 1) and time.monotonic() < end:
        assert processes[0].poll() is processes[1].poll() is None, finish(processes)
        time.sleep(0.2)
    processes[0].send_signal(signal.SIGTERM)  # process 1
    finish(processes)
    newest = checkpoint.latest(tmp_path / "run")
    assert newest is not None
    assert {"host", "host.1", "host.json", "host.1.json", "manifest.json"} <= {path.name for path in newest.iterdir()}
    stopped = checkpoint.step_of(newest)
    assert 0 < stopped < 2000

    shorter = json.loads(json.dumps(to_dict(config))) | {"total_steps": stopped + 80}
    processes = train(tmp_path, make_tiny_config(**shorter), "--resume=must")
    texts = finish(processes)
    assert f"going on from {newest}" in texts[0]
    final = checkpoint.latest(tmp_path / "run")
    assert final is not None
    assert checkpoint.read_meta(final)["complete"]
    assert checkpoint.step_of(final) == stopped + 80
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    steps = [line["step"] for line in lines if "replay/ratio" in line]
    assert steps == sorted(set(steps))  # nothing twice
    assert stopped < steps[-1] <= stopped + 80
    assert lines[-1]["update"] == int((stopped + 80 - 24) / (8 * 6))
    group = hosts.Group()
    with pytest.raises(checkpoint.UsageError, match="of 2 processes, and this run has 1"):
        checkpoint.restore_latest(tmp_path / "run", None, group)  # type: ignore[arg-type]

    finish(train(tmp_path, make_tiny_config(**shorter), name="whole"))
    agent = make_agent(config, recording.spec_from_dict(checkpoint.read_meta(final)["spec"]))
    for index in range(2):
        parts, whole = (runs.contents(tmp_path / name, agent, index) for name in ("run", "whole"))
        runs.assert_same(parts, whole)
    assert runs.lines(tmp_path / "run") == runs.lines(tmp_path / "whole")


def test_flags_go_together_and_slurm_speaks_for_itself() -> None:
    assert hosts.settings(None, None, None, {}) is None
    assert hosts.settings("a:1", 2, 1, {}) == ("a:1", 2, 1)
    slurm = dict.fromkeys(hosts.SLURM, "1")
    assert hosts.settings(None, None, None, slurm) is None  # a job of one task
    assert hosts.settings(None, None, None, slurm | {"SLURM_NTASKS": "4"}) == (None, None, None)
    with pytest.raises(ConfigError, match="go together"):
        hosts.settings("localhost:1", 2, None, {})
    with pytest.raises(ConfigError, match="process_id=2"):
        hosts.settings("localhost:1", 2, 2, {})
    with pytest.raises(ConfigError, match="coordinator='localhost'"):
        hosts.settings("localhost", 2, 0, {})
    with pytest.raises(ConfigError, match="num_processes=0"):
        hosts.settings("localhost:1", 0, 0, {})


class Fake(hosts.Group):
    def __init__(self, index: int, count: int) -> None:
        super().__init__()
        self.index, self.count = index, count


def test_each_process_has_its_share_and_its_seed() -> None:
    config = make_tiny_config(num_envs=4, seed=5, replay={"capacity": 102, "min_size": 24})
    assert hosts.share(config, Fake(0, 1)) == (4, config.replay, 5)
    shares = [hosts.share(config, Fake(i, 2)) for i in range(2)]
    assert [(each.num_envs, each.replay.capacity) for each in shares] == [(2, 50), (2, 50)]
    assert shares[0].seed == 5 != shares[1].seed
    with pytest.raises(ConfigError, match="num_envs=4 is not allowed: must be a multiple of 3"):
        hosts.share(config, Fake(0, 3))
