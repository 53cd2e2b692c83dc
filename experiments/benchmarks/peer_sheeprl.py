"""One update of sheeprl's DreamerV3 (Nature version), on request: run by ``benchmark --peer=sheeprl`` in its own process.

    python peer_sheeprl.py SIZE BATCH LENGTH OBS ACTIONS

Imports nothing of DreamJAX: it runs in an environment that holds sheeprl and PyTorch alone. It builds the agent from
sheeprl's own configuration, makes one synthetic batch, and then answers each line on its standard input by one line of
JSON: the seconds that sheeprl's ``train`` and its slow critic's step took, the parameters, the peak memory in GiB.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time


def peak_kib() -> int:
    """Peak memory of this program; what ``getrusage`` says includes the process that started it, before it did."""
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Builds the agent, then one update for each line read."""
    size, (batch, length, obs_size, actions) = sys.argv[1], map(int, sys.argv[2:6])
    import gymnasium
    import hydra
    import numpy as np
    import sheeprl
    import torch
    from hydra import compose, initialize_config_dir
    from lightning.fabric import Fabric
    from omegaconf import OmegaConf
    from sheeprl.algos.dreamer_v3_5 import dreamer_v3_5 as algo
    from sheeprl.algos.dreamer_v3_5.agent import build_agent
    from sheeprl.utils.utils import dotdict

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    configs = os.path.join(os.path.dirname(sheeprl.__file__), "configs")
    overrides = [
        "exp=dreamer_v3_5", f"algo=dreamer_v3_5_{size.upper()}", "env=dummy", f"algo.per_rank_batch_size={batch}",
        f"algo.per_rank_sequence_length={length}", "algo.cnn_keys.encoder=[]", "algo.mlp_keys.encoder=[vector]",
        "algo.replay_context=0", "fabric.accelerator=cpu",
    ]  # fmt: skip
    with initialize_config_dir(configs, version_base="1.3"):
        config = dotdict(OmegaConf.to_container(compose("config", overrides), resolve=True))
    fabric = Fabric(accelerator="cpu", devices=1)
    space = gymnasium.spaces.Dict({"vector": gymnasium.spaces.Box(-np.inf, np.inf, (obs_size,))})
    world_model, actor, critic, target, _ = build_agent(
        fabric, (actions,), False, config, space, None, None, None, None
    )
    params = [*world_model.parameters(), *actor.parameters(), *critic.parameters()]
    optimizer = fabric.setup_optimizers(hydra.utils.instantiate(config.algo.optimizer, params=params, _convert_="all"))
    scale = config.algo.actor.moments
    moments = algo.Moments(scale.decay, scale.max, scale.percentile.low, scale.percentile.high)
    rng = np.random.default_rng(0)
    flag = torch.zeros(length, batch, 1)
    data = {
        "vector": torch.as_tensor(rng.normal(size=(length, batch, obs_size)), dtype=torch.float32),
        "actions": torch.nn.functional.one_hot(torch.as_tensor(rng.integers(0, actions, (length, batch))), actions),
        "rewards": torch.as_tensor(rng.normal(size=(length, batch, 1)), dtype=torch.float32),
        "is_first": flag, "terminated": flag, "truncated": flag,
    }  # fmt: skip
    numbers = {"parameters": sum(p.numel() for p in params)}
    print(json.dumps(numbers), flush=True)
    for _ in sys.stdin:
        began, cpu = time.perf_counter(), time.process_time()
        algo.train(
            fabric, config, world_model, actor, critic, target, optimizer, moments, dict(data), None, (actions,)
        )  # fmt: skip
        algo.update_target_critic(critic, target, config.algo.critic.tau)
        numbers["seconds"] = time.perf_counter() - began
        numbers["cpu_seconds"] = time.process_time() - cpu
        numbers["peak_GiB"] = peak_kib() / 2**20
        print(json.dumps(numbers), flush=True)


if __name__ == "__main__":
    main()
