"""Sample efficiency on Tetris: model-free agents and players that know the rules, compared with runs of Dreamer.

    python -m experiments.compare --agents=ppo,dqn,random,heuristic --mode=locked_position --reward=lines \\
        --steps=1000000 --seeds=0,1,2
    python -m experiments.compare --plot --runs=runs/tetris_locked,other/result.json

`ppo` and `dqn` learn (extra `baselines`: pip install -e '.[baselines]'); `random` plays at random, `heuristic` is
Dellacherie's greedy player and `greedy` takes the placement that pays most at once, both by the exact rules. At 10k, 20k,
50k, ... steps each plays --episodes greedy games on seeds of their own. A run is one file in --results, rewritten at each
evaluation; one that is complete is not run again. --plot draws every group of results in --results there as PNG and
prints its table, together with runs of Dreamer where --runs names their work directories (--keep: for good). The form of a
result is in experiments/baselines/curves.py.

Exit codes: 0 done, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import math
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dreamjax.commands import cli
from dreamjax.configs.tetris_locked import REWARDS
from dreamjax.training.runtime import compile_cache
from dreamjax.training.storage.workdir import UsageError
from experiments.baselines import curves

LEARNERS, PLAYERS = ("ppo", "dqn"), ("random", "heuristic", "greedy")
MODES = ("locked_position", "direct")
CHECKPOINTS = (10_000, 20_000, 50_000)
RESULTS = Path(__file__).resolve().parents[1] / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser("python -m experiments.compare", __doc__)
    parser.add_argument("--agents", default="", metavar="A,B", help=f"of {', '.join((*LEARNERS, *PLAYERS))}")
    parser.add_argument("--mode", choices=MODES, default="locked_position", help="(default: locked_position)")
    parser.add_argument("--reward", choices=tuple(REWARDS), default="lines", help="(default: lines)")
    parser.add_argument("--steps", default="100000", metavar="N", help="environment steps of a learner (100000)")
    parser.add_argument("--seeds", default="0", metavar="I,J", help="(default: 0)")
    parser.add_argument("--episodes", type=int, default=100, help="games of each evaluation (default: 100)")
    parser.add_argument("--settings", default="", metavar="A=X,B=Y", help="of a learner, in place of its defaults")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="(default: experiments/results)")
    parser.add_argument("--runs", default="", metavar="DIR,FILE", help="further results for --plot")
    parser.add_argument("--keep", action="store_true", help="also write those results into --results")
    parser.add_argument("--plot", action="store_true", help="draw what there is")
    known = parser.parse_args(arguments)
    agents = [name for name in known.agents.split(",") if name]
    for name in agents:
        if name not in (*LEARNERS, *PLAYERS):
            raise UsageError(f"--agents={name} is not allowed: must be one of {', '.join((*LEARNERS, *PLAYERS))}")
    if not agents and not known.plot:
        raise UsageError("nothing to do: give --agents, --plot or both (see --help)")
    if known.episodes < 2:
        raise UsageError(f"--episodes={known.episodes} is not allowed: must be 2 or more")
    if known.runs and not known.plot:
        raise UsageError("--runs is of --plot: give both")
    if known.keep and not known.runs:
        raise UsageError("--keep is of --runs: give both")
    steps, seeds = _whole("--steps", known.steps, 1), [_whole("--seeds", text, 0) for text in known.seeds.split(",")]
    settings = parse_settings(known.settings)
    if settings and not set(agents) & set(LEARNERS):
        raise UsageError("--settings is of ppo and dqn: give one of them in --agents")
    for package in ("stable_baselines3", "sb3_contrib"):
        if set(agents) & set(LEARNERS) and importlib.util.find_spec(package) is None:
            name = package.replace("_", "-")
            raise UsageError(f"{name} is not installed, which ppo and dqn need: pip install -e '.[baselines]'")
    if settings:
        _check_settings(settings, agents, known.mode)
    # Before anything is run: a file that cannot be read should not be found out about after hours.
    others = [curves.read_result(Path(name)) for name in known.runs.split(",") if name]

    compile_cache.enable()
    for agent in agents:
        for seed in seeds:
            _run(agent, seed, steps, settings, known)
    for result in others if known.keep else ():
        curves.write_result(known.results / curves.file_name(result), result)
    if known.plot:
        _plot(known.results, others)
    return cli.OK


def _whole(name: str, text: str, least: int) -> int:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value.is_integer() or value < least:
        raise UsageError(f"{name}={text} is not allowed: must be a whole number from {least}")
    return int(value)


def parse_settings(text: str) -> dict[str, Any]:
    """``a=1,b=(0,2.5)`` as a dictionary. Raises UsageError where it is something else."""
    try:
        call = ast.parse(f"settings({text})", mode="eval").body
        assert isinstance(call, ast.Call) and not call.args
        return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, AssertionError):
        raise UsageError(f"--settings={text} is not allowed: must be NAME=NUMBER,NAME=NUMBER,...") from None


def _check_settings(settings: dict[str, Any], agents: Sequence[str], mode: str) -> None:
    from experiments.baselines import model_free

    for agent in (name for name in agents if name in LEARNERS):
        defaults = model_free.defaults(agent, mode)
        for name in settings:
            if name not in defaults:
                raise UsageError(f"--settings: {agent} has no {name}; it has {', '.join(defaults)}")


def checkpoints(steps: int) -> list[int]:
    """10k, 20k, 50k, 100k, 200k, ... below ``steps``, and ``steps``."""
    scaled = (step * 10**power for power in range(6) for step in CHECKPOINTS)
    return sorted({step for step in scaled if step < steps} | {steps})


def _run(agent: str, seed: int, steps: int, settings: dict[str, Any], known: argparse.Namespace) -> None:
    learns, mode, reward, episodes = agent in LEARNERS, known.mode, known.reward, known.episodes
    marks = ",".join(f"{name}={value}" for name, value in settings.items()) if learns else ""
    fields = {"action_mode": mode, "max_episode_length": 1000} | REWARDS[reward]
    command = f"python -m experiments.compare --agents={agent} --mode={mode} --reward={reward} --seeds={seed}"
    command += f" --episodes={episodes}" + f" --steps={steps}" * learns
    if marks:
        command += f" --settings='{marks}'"
    result: curves.Result = {
        "agent": f"{agent} {marks}".strip(),
        "env": f"dreamjax/Tetris-v0/{mode}",
        "reward": reward,
        "seed": seed,
        "command": command,
        "hardware": hardware(),
        "wall_s": 0.0,
        "fields": fields,
        "curve": [],
    }
    path = known.results / curves.file_name(result)
    if path.exists():
        last = curves.read_result(path)["curve"][-1]["step"]
        if not learns or last >= steps:
            print(f"{path.name}: there already", flush=True)
            return
    print(f"{path.name}: begins", flush=True)
    began = time.perf_counter()

    def report(step: int, lines: Any, pieces: Any) -> None:
        entry, kept = curves.summary(lines), curves.summary(pieces)
        result["curve"].append(
            {"step": step, "lines": entry, "pieces": {"mean": kept["mean"], "stderr": kept["stderr"]}}
        )
        result["wall_s"] = round(time.perf_counter() - began, 1)
        curves.write_result(path, result)
        print(
            f"{path.name}: {step:>9,} steps  {entry['mean']:.2f} ± {entry['stderr']:.2f} lines"
            f"  {kept['mean']:.1f} pieces  {result['wall_s']:,.0f} s",
            flush=True,
        )

    if not learns:
        from experiments.baselines import heuristics

        report(0, *heuristics.play(agent, episodes=episodes, seed=seed, fields=fields))
        return
    from experiments.baselines import model_free

    result["settings"] = model_free.defaults(agent, mode) | settings
    result["versions"] = model_free.versions()
    model_free.train(
        agent,
        fields=fields,
        settings=result["settings"],
        seed=seed,
        checkpoints=checkpoints(steps),
        episodes=episodes,
        report=report,
    )


def hardware() -> str:
    """This machine's processor, and how many of its cores this process may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores"


def _plot(results: Path, others: list[curves.Result]) -> None:
    found = others + [curves.read_result(path) for path in sorted(results.glob("*.json"))]
    if not found:
        raise UsageError(f"{results} holds no results")
    for (env, reward), group in curves.grouped(found).items():
        path = results / f"{curves.group_name(env, reward)}.png"
        curves.draw(group, path, f"{env}, reward: {reward}")
        print(f"{env}, reward: {reward} -> {path}\n{curves.table(group)}\n", flush=True)
