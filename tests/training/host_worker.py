"""One of the processes of ``test_hosts``: takes updates from its part of fixed batches and writes what comes out.

Run as ``python -m tests.training.host_worker OUT COORDINATOR NUM_PROCESSES PROCESS_ID``.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dreamjax.agents.agent import make_agent
from dreamjax.training.runtime import devices, hosts
from dreamjax.training.updates import compile_update
from tests.helpers.batches import EVERY_ACTION, random_batch
from tests.helpers.configs import make_tiny_config

BATCHES = 2
# Two-hot heads are left out: their largest bins turn rounding of nearly uniform outputs into targets (test_update has
# them on several devices). Adam with a large epsilon moves a parameter in proportion to its gradient.
CHANGES = {
    "model": {"reward_head": "mse"},
    "critic": {"head": "mse"},
    "imagination": {"use_ring": True},
    "optimizer": {"kind": "adam", "eps": 0.1, "agc": 0.0, "warmup": 0, "world_model_lr": 0.01, "actor_lr": 0.01},
}


def make() -> Any:
    return make_agent(make_tiny_config(**CHANGES), EVERY_ACTION)


def batches(index: int = 0, count: int = 1) -> Any:
    """Rows of process ``index`` of each global batch."""
    for seed in range(BATCHES):
        batch = random_batch(EVERY_ACTION, batch=8, seed=seed)
        size = 8 // count
        yield jax.tree.map(lambda x: x[index * size : (index + 1) * size], batch)  # noqa: B023


def flat(state: Any, metrics: Any) -> dict[str, np.ndarray]:
    state = devices.local(dataclasses.replace(state, key=jax.random.key_data(state.key)))
    leaves = jax.tree_util.tree_leaves_with_path((state, devices.local(metrics)))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def main(out: str, coordinator: str, num_processes: str, process_id: str) -> None:
    hosts.join(hosts.settings(coordinator, int(num_processes), int(process_id)), timeout=60)
    group = hosts.Group()
    agent = make()
    update = compile_update(agent.update, jax.local_device_count())
    state = devices.replicate(devices.jit_once(agent.init)(jax.random.key(0)), jax.local_device_count())
    for batch in batches(group.index, group.count):
        state, metrics, outs = update(state, batch)
    assert group.gather({"index": group.index}) == [{"index": i} for i in range(group.count)]
    assert group.broadcast(f"of {group.index}") == "of 0"
    assert group.any_process(lambda: group.index == 1)()
    assert not group.any_process(lambda: False)()
    np.savez(Path(out) / f"{group.index}.npz", priority=np.asarray(outs.priority), **flat(state, metrics))


if __name__ == "__main__":
    main(*sys.argv[1:])
