"""The update's operations, its speed relative to the machine's matrix products, and a peer's update."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dreamjax.config import Config, from_dict, merge
from dreamjax.config.presets import size as size_of
from dreamjax.training.runtime import memory
from dreamjax.training.storage.workdir import UsageError
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec
from experiments.benchmarks.measuring import in_turns, row

PEERS = Path(__file__).resolve().parents[2] / "build" / "peers"
TORCH, SHEEPRL = "torch==2.13.0", "sheeprl==0.8.4"
# Holds PyTorch without CUDA, which pip prefers ("2.13.0+cpu"); asked for nothing else.
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
SIDE = 1024  # of the matrices whose product measures the machine
# What other Dreamers were measured at: DreamerV3's size, windows x steps, observations and actions.
REFERENCE = {
    "size 1m": ("1m", 16, 64, "vector"),
    "size 1m, 32x50": ("1m", 32, 50, "vector"),
    "size 1m, a board and eight buttons": ("1m", 16, 64, "board"),
    "size 12m": ("12m", 16, 64, "vector"),
}


def reference_spec(kind: str = "vector") -> EnvSpec:
    """A vector of 200 and eight actions, or ("board") 20 x 10 cells one-hot and eight buttons with two ways each."""
    if kind == "vector":
        return EnvSpec(
            {"observation": ObsSpec("vector", (200,), "float32")}, ActionSpec((ActionPart("categorical", 8),))
        )
    cells = ObsSpec("discrete", (200,), "uint8", classes=2)
    return EnvSpec({"observation": cells}, ActionSpec((ActionPart("categorical", 2),) * 8))


def measure_reference(name: str, repeats: int, peer: str | None) -> list[dict[str, Any]]:
    """Rows of one entry of ``REFERENCE``; the peer takes turns where it has the same observation."""
    label, batch, length, kind = REFERENCE[name]
    config = from_dict(merge(size_of(label), {"batch_size": batch, "batch_length": length}))
    rows = measure_update(config, reference_spec(kind), repeats, peer if kind == "vector" else None, label)
    return [{**entry, "name": f"{name}: {entry['name']}"} for entry in rows]


def update_gflop(config: Config, obs: int, actions: int, *, plain: bool = False) -> float:
    """Matrix products of one update in GFLOP, two for each multiplication and addition, counted by hand.

    For a vector of ``obs`` numbers, one categorical action of ``actions`` classes, categorical latents, the block GRU and
    two-hot heads. A layer costs its kernel once forward, once for the kernel's gradient and once for its input's, the
    last not where the input needs none (observations, actions, features that the behavior learns on). ``plain``: as the
    update is commonly written, where the actor's loss and the critic's on replay repeat their products.
    """
    model, actor, critic = config.model, config.actor, config.critic
    deter, hidden, latent, units = model.deter, model.hidden, model.stoch * model.classes, model.units
    feat, size = deter + latent, deter // model.blocks
    mlp = lambda inputs, layers, units, outputs: (inputs * units, (layers - 1) * units**2 + units * outputs)  # noqa: E731
    whole = lambda inputs, *net: sum(mlp(inputs, *net))  # noqa: E731
    block = deter * (size + 3 * hidden) + 3 * deter * size
    cell = (deter + latent) * hidden + block
    prior = deter * hidden + (model.prior_layers - 1) * hidden**2 + hidden * latent
    post = (units + deter) * hidden + (model.posterior_layers - 1) * hidden**2 + hidden * latent
    reward = whole(feat, model.head_layers, units, model.bins)
    cont = whole(feat, model.head_layers, units, 1)
    decoder = whole(feat, model.layers, units, obs)
    encoder = mlp(obs, model.layers, units, 0)
    actor_first, actor_rest = mlp(feat, actor.layers, actor.units, actions)
    critic_first, critic_rest = mlp(feat, critic.layers, critic.units, critic.bins)

    steps = config.batch_size * config.batch_length
    starts = config.batch_size * (config.imagination.last or config.batch_length)
    learned = 2 * (encoder[0] + actions * hidden) + 3 * (encoder[1] + cell + prior + post + reward + cont + decoder)
    imagined = config.horizon * (cell + actions * hidden + prior + actor_first + actor_rest)
    states = config.horizon + 1
    imagined += states * (reward + cont + actor_first + 2 * actor_rest)
    imagined += states * (3 * critic_first + 4 * critic_rest)  # with gradient, and the slow critic's forward pass
    replayed = 0
    if plain or config.imagination.use_ring:
        imagined += states * (actor_first + actor_rest)
        replayed = (3 * critic_first + 4 * critic_rest) if config.critic.replay_scale else critic_first + critic_rest
    return 2 * (steps * learned + starts * (imagined + replayed)) / 1e9


def measure_update(config: Config, spec: Any, repeats: int, peer: str | None, size: str) -> list[dict[str, Any]]:
    """Rows of the benchmark: the update, the machine's matrix products, and a peer's update taken in turns with ours."""
    import jax
    import jax.numpy as jnp

    from dreamjax.agents.agent import dummy_batch, make_agent

    agent = make_agent(config, spec)
    state = jax.jit(agent.init)(jax.random.key(0))
    parameters = sum(x.size for x in jax.tree.leaves(state.params))
    batch = dummy_batch(spec, config.batch_size, config.batch_length)
    began = time.perf_counter()
    compiled = jax.jit(agent.update, donate_argnums=0).lower(state, batch).compile()
    compile_time = time.perf_counter() - began
    memory.trim()  # as training does

    def ours() -> None:
        nonlocal state
        state = jax.block_until_ready(compiled(state, batch)[0])

    matrix = jnp.ones((SIDE, SIDE))
    product = jax.jit(lambda x: x @ x)

    def machine() -> None:
        for _ in range(20):
            jax.block_until_ready(product(matrix))

    turns: dict[str, Callable[[], Any]] = {"ours": ours, "machine": machine}
    other = None
    if peer:
        other = Peer(size, config, spec.obs["observation"].size, spec.action.vector_size)
        turns["peer"] = other.step
    wall, cpus = in_turns(turns, repeats)
    if other is not None:
        wall["peer"], cpus["peer"] = other.wall[2:], other.cpu[2:]
    wall["machine"] = [x / 20 for x in wall["machine"]]
    cpu = {name: statistics.median(values) for name, values in cpus.items()}
    rate = [2 * SIDE**3 / x / 1e9 for x in wall["machine"]]
    more = {"parameters": parameters, "compile_s": compile_time, "cpu_s": cpu["ours"]}
    if list(spec.obs) == ["observation"] and config.model.kind == "rssm":
        entry = spec.obs["observation"]
        inputs = entry.size * (entry.classes if entry.kind == "discrete" else 1)
        for name, plain in (("", False), ("_as_commonly_written", True)):
            gflop = update_gflop(config, inputs, spec.action.vector_size, plain=plain)
            speed = gflop / statistics.median(wall["ours"])
            more |= {f"gflop{name}": gflop, f"gflop_per_s{name}": speed}
            more[f"share_of_matrix_products{name}"] = speed / statistics.median(rate)
    more["peak_GiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    shape = f"{config.batch_size}x{config.batch_length}, horizon {config.horizon}"
    rows = [
        row(f"update {shape}", wall["ours"], "s", **more),
        row(f"matrix products {SIDE}", rate, "GFLOP/s"),
    ]
    if other is not None:
        numbers = other.close()
        if numbers["parameters"] != parameters:
            raise UsageError(f"sheeprl has {numbers['parameters']} parameters, we {parameters}: not the same sizes")
        ratio = [theirs / mine for mine, theirs in zip(wall["ours"], wall["peer"], strict=True)]
        extra = {"cpu_s": cpu["peer"], "parameters": numbers["parameters"], "peak_GiB": numbers["peak_GiB"]}
        rows.append(row(f"sheeprl's update {shape}", wall["peer"], "s", **extra))
        best = min(wall["peer"]) / min(wall["ours"])
        rows.append(row("times faster than sheeprl", ratio, "x", of_minima=best, of_cpu=cpu["peer"] / cpu["ours"]))
    return rows


class Peer:
    """sheeprl in a process and a Python environment of its own, one update at a time."""

    def __init__(self, size: str, config: Config, obs: int, actions: int) -> None:
        program = Path(__file__).with_name("peer_sheeprl.py")
        sizes = [size, config.batch_size, config.batch_length, obs, actions]
        self._process = subprocess.Popen(
            [str(_sheeprl_python()), "-P", str(program), *map(str, sizes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._numbers = self._read()
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        while line and not line.startswith("{"):
            line = self._process.stdout.readline()
        if not line:
            raise UsageError(f"--peer=sheeprl: its process ended with code {self._process.wait()}; see above")
        return json.loads(line)

    def step(self) -> None:
        """One update; its seconds and CPU seconds, as its process reports them, go to ``wall`` and ``cpu``."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._numbers = self._read()
        self.wall.append(self._numbers["seconds"])
        self.cpu.append(self._numbers["cpu_seconds"])

    def close(self) -> dict[str, float]:
        """Ends the process; its last numbers."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        return self._numbers


def _sheeprl_python() -> Path:
    """The Python of an environment that holds sheeprl, made on the first use."""
    home = PEERS / "sheeprl"
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    if (home / "installed").exists():
        return python
    print(f"installing {TORCH} and {SHEEPRL} into {home} (some minutes, once)", file=sys.stderr)
    venv.create(home, with_pip=True, clear=True)
    install = [str(python), "-m", "pip", "install", "--quiet"]
    for wanted in ([TORCH, "--no-deps", "--extra-index-url", TORCH_INDEX], [TORCH, SHEEPRL]):
        if subprocess.run([*install, *wanted], check=False).returncode:
            raise UsageError("--peer=sheeprl: pip could not install it; see above")
    (home / "installed").touch()
    return python
