"""Evaluates a trained agent over whole episodes: mean, standard error and every episode.

    python -m experiments.evaluate --workdir=runs/tetris_direct --episodes=100 --json=result.json
    python -m experiments.evaluate --workdir=runs/tetris_locked --agent=search    # planner.method=one_step
    python -m experiments.evaluate --workdir=runs/tetris_locked --agent=planner --simulations=50    # tree search in it
    python -m experiments.evaluate --workdir=runs/tetris_locked --agent=planner --rules=real    # in Tetris itself
    python -m experiments.evaluate --workdir=runs/tetris_locked --world-model     # how often the model is right
    python -m experiments.evaluate --workdir=runs/tetris_locked --robustness      # other pieces, a board begun badly

--workdir may also name an agent that comes with the package.

Exit codes: 0 done, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamjax.seeds import EVALUATION, evaluation_seed
from dreamjax.training.runtime import memory
from dreamjax.training.storage import workdir
from dreamjax.training.storage.workdir import UsageError
from experiments import cli

if TYPE_CHECKING:
    from dreamjax.config import PlannerConfig
    from dreamjax.training.collection.collector import Policy
    from dreamjax.training.storage.load import Loaded

TETRIS = "dreamjax/Tetris-v0"
EPISODES, MODEL_EPISODES = 100, 50
GARBAGE = 5  # rows of --robustness
ONE_STEP_ACTIONS = 64  # candidates of --agent=search: of placements all that are legal
HELD_OUT = 20_000_033  # added to the seeds of run and command: the model is measured on games that no training saw
SEED_HELP = f"of environments and policy; below {EVALUATION} it is added to that (default: 0)"
SEQUENCES = ("bag", "uniform", "sz")
METHODS = ("gumbel", "one_step", "cem", "mppi", "piecewise", "held")
OF_PLANNER = ("num_simulations", "method", "horizon", "candidates")  # beside the run's
Settings = dict[str, dict[str, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    known = _parser().parse_args(arguments)
    _check(known)
    config = workdir.read_config(known.workdir)
    settings = settings_of(known)
    if settings and config.env.id.rpartition(":")[2] != TETRIS:
        raise UsageError(f"--sequence, --garbage and --robustness are for {TETRIS}, not for {config.env.id}")
    seed = evaluation_seed(known.seed)
    episodes = known.episodes or (MODEL_EPISODES if known.world_model else EPISODES)
    print(f"dreamjax: {episodes} episodes of {config.env.id} by the agent of {known.workdir}", flush=True)

    memory.configure(config.parallel)
    cli.cache_compilations()
    from dreamjax.envs.adapter import EnvError
    from dreamjax.training.collection.acting import policy_by
    from dreamjax.training.storage.checkpoint import CheckpointError
    from dreamjax.training.storage.load import load

    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    num_envs = min(known.num_envs or config.eval.num_envs, episodes)
    changes: dict[str, Any] = {"env": {"kwargs": next(iter(settings.values()))}} if settings else {}
    if known.agent == "search":
        changes["planner"] = one_step(config.planner, known.bootstrap)
    elif known.agent == "planner":
        changes["planner"] = {name: value for name in OF_PLANNER if (value := getattr(known, name)) is not None}
    if known.rules == "real":
        if config.env.id.rpartition(":")[2] != TETRIS:
            raise UsageError(f"--rules=real is for {TETRIS}, not for {config.env.id}")
        changes["env"] = {"workers": 0}
    try:
        loaded = load(known.workdir, num_envs=num_envs, seed=seed, changes=changes)
    except EnvError as error:
        raise UsageError(str(error)) from error
    except CheckpointError as error:
        return cli.fail(error)
    print(f"checkpoint {loaded.path.name}, {loaded.meta['update']:,} updates", flush=True)
    if known.rules == "real":
        watch = Stopwatch(by_real_rules(loaded))
    else:
        watch = Stopwatch(policy_by(loaded.agent, "policy" if known.agent == "policy" else "planner"))
    play = dict(num_envs=num_envs, episodes=episodes, greedy=known.greedy)
    try:
        if known.world_model:
            result = _model(loaded, watch.policy, play, known.seed)
        elif settings:
            result = _settings(loaded, watch.policy, play, seed, settings)
        else:
            result = _play(loaded, watch.policy, play, seed)
    except EnvError as error:
        if settings:
            raise UsageError(str(error)) from error
        return cli.fail(error)
    finally:
        loaded.env.close()
    seconds = watch.seconds / max(watch.calls, 1)
    print(
        f"time per move: {1e3 * seconds / num_envs:.3f} ms ({1e3 * seconds:.1f} ms for {num_envs} games side by side)"
    )
    if known.json:
        facts = {"agent": known.agent, "greedy": known.greedy, "seed": seed, "step": loaded.meta["step"]}
        facts |= {"seconds_per_move": seconds / num_envs, "num_envs": num_envs}
        if known.agent != "policy":
            facts |= {"planner": dataclasses.asdict(loaded.config.planner), "rules": known.rules}
        try:
            known.json.parent.mkdir(parents=True, exist_ok=True)
            known.json.write_text(json.dumps(result | facts, indent=1) + "\n")
        except OSError as error:
            return cli.fail(f"--json={known.json} cannot be written: {error}")
    return cli.OK


def _parser() -> cli.Parser:
    parser = cli.Parser(__doc__ or "")
    parser.add_argument("--workdir", type=Path, required=True, help="of a run of experiments.train, or a shipped agent")
    parser.add_argument("--episodes", type=int, help=f"(default: {EPISODES}; of the world model {MODEL_EPISODES})")
    parser.add_argument(
        "--num_envs", type=int, metavar="N", help="games side by side (default: the run's eval.num_envs)"
    )
    parser.add_argument("--agent", choices=("policy", "search", "planner"), default="policy", help="(default: policy)")
    parser.add_argument(
        "--simulations", dest="num_simulations", type=int, metavar="N", help="of the planner (default: the run's)"
    )
    parser.add_argument(
        "--method", choices=METHODS, help="of the planner (default: the run's; held: old name of piecewise)"
    )
    parser.add_argument("--horizon", type=int, metavar="N", help="steps that shooting looks ahead (default: the run's)")
    parser.add_argument(
        "--candidates", type=int, metavar="N", help="sequences that shooting tries (default: the run's)"
    )
    parser.add_argument(
        "--rules",
        choices=("model", "real"),
        default="model",
        help="what the planner plans in: the learned model, or Tetris itself without foresight of pieces (default: model)",
    )
    parser.add_argument(
        "--bootstrap", type=float, metavar="W", help="weight of the critic's value in search (default: the run's)"
    )
    parser.add_argument("--greedy", type=cli.boolean, default=True, metavar="true|false", help="(default: true)")
    parser.add_argument("--seed", type=int, default=0, help=SEED_HELP)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result here")
    parser.add_argument(
        "--world-model", action="store_true", help="measure the model's predictions instead of the play"
    )
    parser.add_argument("--sequence", choices=SEQUENCES, help="how Tetris deals pieces, beside the standard game")
    parser.add_argument("--garbage", type=int, metavar="N", help="rows with one hole that Tetris begins with")
    parser.add_argument(
        "--robustness", action="store_true", help=f"all three sequences, and garbage of N rows (default: {GARBAGE})"
    )
    return parser


def _check(known: argparse.Namespace) -> None:
    """Raises UsageError on a value that cannot be."""
    if known.episodes is not None and known.episodes < 1:
        raise UsageError(f"--episodes={known.episodes} is not allowed: must be 1 or more")
    if known.seed < 0:
        raise UsageError(f"--seed={known.seed} is not allowed: must be 0 or more")
    if known.num_envs is not None and known.num_envs < 1:
        raise UsageError(f"--num_envs={known.num_envs} is not allowed: must be 1 or more")
    if known.garbage is not None and known.garbage < 1:
        raise UsageError(f"--garbage={known.garbage} is not allowed: must be 1 or more")
    if known.agent != "planner":
        for name, value in (
            ("simulations", known.num_simulations),
            ("method", known.method),
            ("horizon", known.horizon),
            ("candidates", known.candidates),
        ):
            if value is not None:
                raise UsageError(f"--{name}={value} is for --agent=planner")
        if known.rules == "real":
            raise UsageError("--rules=real is for --agent=planner")
    if known.bootstrap is not None and known.agent != "search":
        raise UsageError(f"--bootstrap={known.bootstrap:g} is for --agent=search")
    if known.bootstrap is not None and not 0 <= known.bootstrap <= 1:
        raise UsageError(f"--bootstrap={known.bootstrap:g} is not allowed: must be from 0 to 1")
    least = (
        ("simulations", known.num_simulations, 1),
        ("horizon", known.horizon, 1),
        ("candidates", known.candidates, 2),
    )
    for name, value, bound in least:
        if value is not None and value < bound:
            raise UsageError(f"--{name}={value} is not allowed: must be {bound} or more")
    if known.rules == "real" and (known.world_model or known.robustness or known.sequence or known.garbage):
        raise UsageError(
            "--rules=real is for the run's own games: not --world-model, --sequence, --garbage, --robustness"
        )
    if known.robustness and known.sequence:
        raise UsageError("--robustness plays every --sequence: give one of the two")
    if known.world_model and (known.robustness or known.sequence or known.garbage):
        raise UsageError(
            "--world-model is measured on the run's own games: without --sequence, --garbage, --robustness"
        )


def one_step(planner: PlannerConfig, bootstrap: float | None) -> dict[str, Any]:
    """The changes of ``--agent=search``: a planner that looks one step ahead, with the run's settings where it has them."""
    changes: dict[str, Any] = {"method": "one_step"}
    if planner.method != "one_step":
        changes["actions"] = ONE_STEP_ACTIONS
    return changes if bootstrap is None else changes | {"bootstrap": bootstrap}


def settings_of(known: argparse.Namespace) -> Settings:
    """The games to compare, by name, as arguments of Tetris; the standard one first. None where none is asked for."""
    standard: dict[str, Any] = {"randomizer": "bag", "garbage_rows": 0}
    garbage = known.garbage or (GARBAGE if known.robustness else 0)
    if known.robustness:
        others: Settings = {name: standard | {"randomizer": name} for name in SEQUENCES[1:]}
        others[f"garbage {garbage}"] = standard | {"garbage_rows": garbage}
    elif known.sequence or garbage:
        sequence = known.sequence or "bag"
        name = f"{sequence}, garbage {garbage}" if garbage else sequence
        others = {name: {"randomizer": sequence, "garbage_rows": garbage}}
    else:
        return {}
    return {"bag": standard} | others


def by_real_rules(loaded: Loaded) -> Policy:
    """The planner in Tetris itself: with each observation it is given the games as they stand."""
    from dreamjax.agents.real_rules import GAME, make_rules_policy
    from dreamjax.envs.tetris.gym import make_config
    from dreamjax.envs.tetris.rules import TetrisState
    from dreamjax.training.collection.collector import make_policy

    config, agent = loaded.config, loaded.agent
    mode = {} if config.env.action_mode is None else {"action_mode": config.env.action_mode}
    rules = make_config({**config.env.kwargs, **mode})
    policy = make_policy(make_rules_policy(agent.networks, config, agent.spec, rules), agent.initial_carry)

    def act(params: Any, carry: Any, obs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        state = loaded.env.get_state()
        assert state is not None
        fields: dict[str, Any] = {name[4:]: value for name, value in state.items() if name.startswith("env/")}
        return policy.act(params, carry, {**obs, GAME: TetrisState(**fields)}, *args, **kwargs)

    return policy._replace(act=act)


class Stopwatch:
    """Times the calls of a policy, waiting for each; the first, which compiles, is not counted."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy._replace(act=self._act)
        self.seconds, self.calls = 0.0, -1
        self._timed = policy.act

    def _act(self, *args: Any, **kwargs: Any) -> Any:
        import jax

        start = time.perf_counter()
        result = jax.block_until_ready(self._timed(*args, **kwargs))
        if self.calls >= 0:
            self.seconds += time.perf_counter() - start
        self.calls += 1
        return result


def _play(loaded: Loaded, policy: Policy, play: dict[str, Any], seed: int) -> dict[str, Any]:
    from dreamjax.training.evaluation.evaluator import evaluate

    result = evaluate(policy, loaded.params, loaded.env, seed=seed, **play)
    assert result is not None
    for name, entry in result.items():
        print(f"{name:>8}  {entry['mean']:10.3f} ± {entry['stderr']:.3f}")
    return result


def _model(loaded: Loaded, policy: Policy, play: dict[str, Any], seed: int) -> dict[str, Any]:
    from dreamjax.reporting import uncertainty
    from dreamjax.reporting.accuracy import table
    from dreamjax.training.evaluation.model_evaluator import evaluate_model

    held_out = seed + loaded.config.seed + HELD_OUT
    result = evaluate_model(loaded.agent, policy, loaded.params, loaded.env, seed=held_out, **play)
    print(
        f"the prior alone, {result['steps']:,} steps of {result['episodes']} episodes; open loop after {result['context']}"
    )
    for name, rows in result["observations"].items():
        print(table(rows, name))
    if "disagreement" in result:
        print(uncertainty.table(result["disagreement"]))
    if not result["observations"]:
        print(f"{loaded.config.env.id} has no boards or other grids to predict")
    return result | {"model_seed": held_out}


def _settings(loaded: Loaded, policy: Policy, play: dict[str, Any], seed: int, settings: Settings) -> dict[str, Any]:
    from dreamjax.envs.adapter import make_env
    from dreamjax.training.evaluation.evaluator import evaluate

    results: dict[str, Any] = {}
    print(f"{'game':<20}{'lines':>18}{'loss':>18}{'share':>9}{'pieces':>18}")
    for name, fields in settings.items():
        config = dataclasses.replace(loaded.config.env, kwargs={**loaded.config.env.kwargs, **fields})
        env = make_env(config, play["num_envs"], seed=seed)
        try:
            result = evaluate(policy, loaded.params, env, seed=seed, **play)
        finally:
            env.close()
        assert result is not None
        results[name] = {"env": fields} | result
        shown = f"{name:<20}{_error(result['lines']):>18}"
        if len(results) > 1:
            lost = loss(next(iter(results.values()))["lines"], result["lines"])
            results[name]["loss"] = lost
            share = "-" if lost["share"] is None else f"{100 * lost['share']:.0f} %"
            shown += f"{_error(lost):>18}{share:>9}"
        else:
            shown += f"{'':>27}"
        print(f"{shown}{_error(result['pieces']):>18}", flush=True)
    return {"settings": results}


def loss(standard: dict[str, Any], other: dict[str, Any]) -> dict[str, float | None]:
    """Mean lines lost against the standard game, their standard error (games are independent), and the share lost."""
    mean = standard["mean"] - other["mean"]
    stderr = (standard["stderr"] ** 2 + other["stderr"] ** 2) ** 0.5
    return {"mean": mean, "stderr": stderr, "share": mean / standard["mean"] if standard["mean"] else None}


def _error(entry: dict[str, Any]) -> str:
    return f"{entry['mean']:.2f} ± {entry['stderr']:.2f}"


if __name__ == "__main__":
    sys.exit(main())
