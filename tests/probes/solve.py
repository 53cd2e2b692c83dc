"""Trains the default agent on the probes, as a user would, and measures it beside random play.

    python -m tests.probes.solve --only=cue,chain --seeds=0,1
    python -m tests.probes.solve --only=chain --set='{"loss": {"gamma": 0.99}}'

prints a row of tests/README.md for each run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np

from dreamjax.algorithms.distributions import scalar_decode
from dreamjax.config import Config, defaults, from_dict, merge
from dreamjax.models.heads import make_critic
from dreamjax.training.storage.load import load
from dreamjax.training.trainer import Trainer
from tests.probes import environments

SOLVED = 0.9  # share of the best return

# One small preset for all probes: how much data, how large, how fast. All else is the default.
SMALL: dict[str, Any] = {
    "total_steps": 4_000,
    "num_envs": 8,
    "batch_size": 16,
    "batch_length": 16,
    "horizon": 8,
    "train_ratio": 96.0,
    "model": {"deter": 64, "blocks": 4, "hidden": 32, "stoch": 8, "classes": 8, "units": 32, "layers": 1, "bins": 63},
    "actor": {"layers": 2, "units": 32, "entropy": 1e-3},
    "critic": {"layers": 2, "units": 32, "bins": 63},
    "imagination": {"last": 8},
    "loss": {"gamma": 0.9, "symlog_limit": 10.0},
    "optimizer": {"world_model_lr": 3e-3, "actor_lr": 1e-3, "critic_lr": 1e-3, "warmup": 100},
    "replay": {"capacity": 20_000, "min_size": 256},
    "eval": {"every": 0, "episodes": 64, "num_envs": 32},
    "checkpoint": {"every": 1_000_000},
    "log": {"every": 10.0, "metrics_every": 100, "tensorboard": False},
}


@dataclass(frozen=True)
class Probe:
    """An environment's name, its best mean return, what it is made with, and what it sets beside the preset."""

    env: str
    best: float
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


# Two-hot values are symlog's: linear below 1, so that no scale is as good as another there. With bins that reach e^10, what
# little probability the far ones keep outweighs a reward of 0.001; these reach 0.1, and returns are scaled from 0.001 up.
SMALL_REWARDS = {"loss": {"symlog_limit": 0.1, "return_norm_limit": 1e-3}}


PROBES = {
    "cue": Probe("Cue", 11.0),
    "chain": Probe("Chain", 1.0),
    "fork": Probe("Fork", 1.0),
    "scale": Probe("Scale", 8.0),
    "scale_small": Probe("Scale", 8e-3, {"scale": 1e-3}, SMALL_REWARDS),
    "scale_large": Probe("Scale", 8e3, {"scale": 1e3}),
    "buttons": Probe("Buttons", 8.0),
    "masked": Probe("Masked", 8.0),
    "endless": Probe("Endless", 10.0),
}


class Result(NamedTuple):
    """Mean returns as shares of the best one; seconds of training, evaluation and all compilation, wall and CPU."""

    agent: float
    random: float
    wall: float
    cpu: float


def make_config(name: str, seed: int, overrides: Mapping[str, Any] | None = None) -> Config:
    probe = PROBES[name]
    env = {"id": f"{environments.__name__}:probes/{probe.env}-v0", "kwargs": probe.kwargs}
    return from_dict(merge(defaults(), SMALL, probe.config, {"seed": seed, "env": env}, overrides or {}))


def solve(name: str, seed: int, path: Path, overrides: Mapping[str, Any] | None = None) -> Result:
    """Trains in ``path``; the score is that of the run's own evaluation after the last step."""
    wall, cpu = time.monotonic(), time.process_time()
    trainer = Trainer(make_config(name, seed, overrides), path)
    try:
        assert trainer.run()
    finally:
        trainer.close()
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    lines = map(json.loads, (path / "metrics.jsonl").read_text().splitlines())
    score = [line["eval/return_mean"] for line in lines if "eval/return_mean" in line][-1]
    best = PROBES[name].best
    return Result(score / best, random_return(name) / best, wall, cpu)


def row(name: str, seed: int, result: Result) -> str:
    """A row of the table in tests/README.md."""
    agent, random, wall, cpu = result
    return f"| {name} | {seed} | {agent:.3f} | {random:.3f} | {wall:.0f} | {cpu:.0f} |"


def random_return(name: str, *, episodes: int = 2_000, seed: int = 0) -> float:
    """Mean return of uniform play over what is legal."""
    env = gymnasium.make(f"probes/{PROBES[name].env}-v0", disable_env_checker=True, **PROBES[name].kwargs)
    env.action_space.seed(seed)
    total = 0.0
    for episode in range(episodes):
        obs, _ = env.reset(seed=seed if episode == 0 else None)
        ended = False
        while not ended:
            mask = obs["action_mask"] if isinstance(obs, dict) else None
            obs, reward, terminated, truncated, _ = env.step(env.action_space.sample(mask))
            total += float(reward)
            ended = terminated or truncated
    return total / episodes


def watch(path: Path, steps: int, *, num_envs: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """The trained agent's first greedy episode in each of ``num_envs`` environments, whose episodes take ``steps`` steps.

    Returns:
        Rewards float32 ``[num_envs, steps]`` and the critic's values ``[num_envs, steps + 1]``, the last one at the
        episode's last observation.
    """
    loaded = load(path, num_envs=num_envs, seed=12_345)
    env, agent, config = loaded.env, loaded.agent, loaded.config
    critic = make_critic(config.critic, config.model, env.spec, dtype=config.parallel.precision)

    def act(params: Any, carry: Any, obs: Any, is_first: Any, key: jax.Array) -> tuple[Any, ...]:
        carry, action, state = agent.policy(params, carry, obs, is_first, jax.random.split(key, num_envs), greedy=True)
        outputs = critic.apply(params["critic"], agent.world_model.feat(state))
        return carry, action, scalar_decode(outputs, config.loss.symlog_limit)

    act = jax.jit(act)
    records, carry = env.reset(), agent.initial_carry(num_envs)
    rewards, values = [], []
    for key in jax.random.split(jax.random.key(0), steps + 1):
        carry, action, value = act(loaded.params, carry, records.obs, records.is_first, key)
        values.append(np.asarray(value))
        if len(values) <= steps:
            _, records = env.step(np.asarray(action))
            rewards.append(records.reward)
    assert records.is_last.all()
    env.close()
    return np.stack(rewards, 1), np.stack(values, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PROBES), help="names of probes (default: all)")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--set", default="{}", help="JSON of configuration fields that differ from the preset")
    given = parser.parse_args()
    for name in given.only.split(","):
        for seed in map(int, given.seeds.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                result = solve(name, seed, Path(folder), json.loads(given.set))
                more = ""
                if name == "cue":
                    more = f" last answer {watch(Path(folder), 11)[0][:, -1].mean():.3f}"
                if name == "endless":
                    more = f" values {watch(Path(folder), 10)[1].mean(0).round(2).tolist()}"
            print(row(name, seed, result) + more, flush=True)


if __name__ == "__main__":
    main()
