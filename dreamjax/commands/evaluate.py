"""Plays whole episodes with a trained agent and reports mean, standard error and every episode.

    dreamjax evaluate --workdir=runs/tetris_direct --episodes=100 --json=result.json
    dreamjax evaluate --workdir=runs/tetris_locked --agent=planner --method=one_step    # one step of search
    dreamjax evaluate --workdir=tetris_locked --agent=planner --simulations=50    # tree search in the model
    dreamjax evaluate --workdir=runs/tetris_locked --agent=planner --rules=real    # plans with the rules of Tetris
    dreamjax evaluate --workdir=runs/tetris_locked --world-model     # how often the model is right
    dreamjax evaluate --workdir=runs/tetris_locked --robustness      # other sequences of pieces, rows of garbage

Exit codes: 0 done, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamjax.commands import cli
from dreamjax.commands.robustness import GARBAGE, SEQUENCES, Games, compare, games_of
from dreamjax.commands.stopwatch import Stopwatch
from dreamjax.seeds import EVALUATION, evaluation_seed
from dreamjax.training.storage import workdir
from dreamjax.training.storage.workdir import UsageError

if TYPE_CHECKING:
    from dreamjax.config import Config
    from dreamjax.training.collection.collector import Policy
    from dreamjax.training.storage.load import Loaded

TETRIS = "dreamjax/Tetris-v0"
EPISODES, MODEL_EPISODES = 100, 50
HELD_OUT = 20_000_033  # added to the seeds of run and command: the model is measured on games that no training saw
ONE_STEP_ACTIONS = 64  # candidates of one_step in a run of another method: more than a piece has placements
# Arguments of the planner, by their name in PlannerConfig: flag and least value.
PLANNER = {
    "num_simulations": ("simulations", 1),
    "method": ("method", None),
    "horizon": ("horizon", 1),
    "candidates": ("candidates", 2),
    "bootstrap": ("bootstrap", 0),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    known = _parser().parse_args(arguments)
    _check(known)
    if known.agent == "search":
        print("warning: --agent=search is now --agent=planner --method=one_step", file=sys.stderr)
        known.agent, known.method = "planner", "one_step"
    config = workdir.read_config(known.workdir)
    games = games_of(known)
    changes = _changes(known, config, games)
    episodes = known.episodes or (MODEL_EPISODES if known.world_model else EPISODES)
    print(f"dreamjax: {episodes} episodes of {config.env.id} by the agent of {known.workdir}", flush=True)

    cli.prepare(config.parallel)
    from dreamjax.envs.checks import EnvError
    from dreamjax.training.collection.acting import policy_by
    from dreamjax.training.storage.checkpoint import CheckpointError
    from dreamjax.training.storage.load import load

    seed = evaluation_seed(known.seed)
    at_once = config.num_envs if config.eval.in_training_env else config.eval.num_envs
    num_envs = min(known.num_envs or at_once, episodes)
    try:
        loaded = load(known.workdir, num_envs=num_envs, seed=seed, changes=changes)
        env = loaded.env
    except EnvError as error:
        raise UsageError(str(error)) from error
    except CheckpointError as error:
        return cli.fail(error)
    print(f"checkpoint {loaded.path.name}, {loaded.meta['update']:,} updates", flush=True)
    acts_by = "policy" if known.agent == "policy" else "planner"
    policy = by_real_rules(loaded) if known.rules == "real" else policy_by(loaded.agent, acts_by)
    watch = Stopwatch(policy.act)
    policy = policy._replace(act=watch)
    max_length = config.eval.max_length if known.max_length is None else known.max_length
    play = dict(num_envs=num_envs, episodes=episodes, greedy=known.greedy, max_length=max_length)
    try:
        if known.world_model:
            result = _measure_model(loaded, policy, play, known.seed)
        elif games:
            result = compare(loaded, policy, play, seed, games)
        else:
            result = _play(loaded, policy, play, seed)
    except EnvError as error:
        if games:
            raise UsageError(str(error)) from error
        return cli.fail(error)
    finally:
        env.close()
    seconds = watch.mean
    print(f"time per move: {1e3 * seconds / num_envs:.3f} ms ({1e3 * seconds:.1f} ms for {num_envs} games at once)")
    if not known.json:
        return cli.OK
    facts = {"agent": known.agent, "greedy": known.greedy, "seed": seed, "step": loaded.meta["step"]}
    facts |= {"seconds_per_move": seconds / num_envs, "num_envs": num_envs}
    if acts_by == "planner":
        facts |= {"planner": dataclasses.asdict(loaded.config.planner), "rules": known.rules}
    try:
        known.json.parent.mkdir(parents=True, exist_ok=True)
        known.json.write_text(json.dumps(result | facts, indent=1) + "\n")
    except OSError as error:
        return cli.fail(f"--json={known.json} cannot be written: {error}")
    return cli.OK


def _changes(known: argparse.Namespace, config: Config, games: Games) -> dict[str, Any]:
    """Fields of the run's configuration that the arguments set.

    Raises:
        UsageError: the arguments are for Tetris, and the run plays another game.
    """
    is_tetris = config.env.id.rpartition(":")[2] == TETRIS
    changes: dict[str, Any] = {}
    if games:
        if not is_tetris:
            raise UsageError(f"--sequence, --garbage and --robustness are for {TETRIS}, not for {config.env.id}")
        changes["env"] = {"kwargs": next(iter(games.values()))}
    if known.rules == "real":
        if not is_tetris:
            raise UsageError(f"--rules=real is for {TETRIS}, not for {config.env.id}")
        changes["env"] = {"workers": 0}
    if known.agent == "planner":
        changes["planner"] = {name: value for name in PLANNER if (value := getattr(known, name)) is not None}
        if known.method == "one_step" and config.planner.method != "one_step":
            changes["planner"]["actions"] = ONE_STEP_ACTIONS
    return changes


def _parser() -> cli.Parser:
    parser = cli.Parser("dreamjax evaluate", __doc__)
    parser.add_argument("--workdir", type=Path, required=True, help=cli.WORKDIR_HELP)
    parser.add_argument("--episodes", type=int, help=f"(default: {EPISODES}; {MODEL_EPISODES} with --world-model)")
    parser.add_argument("--num_envs", type=int, metavar="N", help="games at once (default: the run's eval.num_envs)")
    parser.add_argument(
        "--max_length",
        type=int,
        metavar="N",
        help="steps of an episode; 0: no limit (default: the run's eval.max_length)",
    )
    parser.add_argument(
        "--agent", choices=("policy", "planner", "search"), default="policy", help="how it acts (default: policy)"
    )
    parser.add_argument("--greedy", type=cli.boolean, default=True, metavar="true|false", help="(default: true)")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help=f"seed of environments and policy; below {EVALUATION} it is added to that (default: 0)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result to this file")

    planner = parser.add_argument_group("the planner (default of each: the run's)")
    planner.add_argument("--method", metavar="NAME", help="`dreamjax config planner.method` lists them")
    planner.add_argument(
        "--simulations", dest="num_simulations", type=int, metavar="N", help="simulations of each tree search"
    )
    planner.add_argument("--horizon", type=int, metavar="N", help="steps of each sequence that shooting tries")
    planner.add_argument("--candidates", type=int, metavar="N", help="number of sequences that shooting tries")
    planner.add_argument(
        "--rules",
        choices=("model", "real"),
        default="model",
        help="plan in the learned model, or in Tetris itself without knowledge of coming pieces (default: model)",
    )
    planner.add_argument("--bootstrap", type=float, metavar="W", help="weight of the critic's value in one_step")

    other = parser.add_argument_group("instead of the run's own games")
    other.add_argument("--world-model", action="store_true", help="measure the model's predictions")
    other.add_argument("--sequence", choices=SEQUENCES, help="compare with this way to draw the pieces of Tetris")
    other.add_argument("--garbage", type=int, metavar="N", help="compare with Tetris begun with N rows of garbage")
    other.add_argument(
        "--robustness",
        action="store_true",
        help=f"compare with every sequence, and garbage of N rows (default: {GARBAGE})",
    )
    return parser


def _check(known: argparse.Namespace) -> None:
    """Raises UsageError on a value that is not allowed, or not together with the others."""
    cli.require_at_least(known, episodes=1, seed=0, num_envs=1, garbage=1, max_length=0)
    for name, (flag, bound) in PLANNER.items():
        value = getattr(known, name)
        if value is not None and known.agent != "planner" and (known.agent, name) != ("search", "bootstrap"):
            raise UsageError(f"--{flag}={value} is for --agent=planner")
        if value is not None and bound is not None and value < bound:
            raise UsageError(f"--{flag}={value} is not allowed: must be {bound} or more")
    if known.rules == "real" and known.agent != "planner":
        raise UsageError("--rules=real is for --agent=planner")
    other_games = known.robustness or known.sequence or known.garbage
    if known.rules == "real" and (known.world_model or other_games):
        raise UsageError(
            "--rules=real is for the run's own games: not --world-model, --sequence, --garbage, --robustness"
        )
    if known.robustness and known.sequence:
        raise UsageError("--robustness plays every --sequence: give one of the two")
    if known.world_model and other_games:
        raise UsageError(
            "--world-model is measured on the run's own games: without --sequence, --garbage, --robustness"
        )


def by_real_rules(loaded: Loaded) -> Policy:
    """The planner in Tetris itself: it receives the states of the games with the observations."""
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


def _play(loaded: Loaded, policy: Policy, play: dict[str, Any], seed: int) -> dict[str, Any]:
    from dreamjax.training.evaluation.evaluator import cut_text, evaluate

    result = evaluate(policy, loaded.params, loaded.env, seed=seed, **play)
    assert result is not None
    width = max(8, *map(len, result))
    for name, entry in result.items():
        print(f"{name:>{width}}  {entry['mean']:10.3f} ± {entry['stderr']:.3f}")
    if "cut" in result:
        print(cut_text(result, play["max_length"]))
    return result


def _measure_model(loaded: Loaded, policy: Policy, play: dict[str, Any], seed: int) -> dict[str, Any]:
    from dreamjax.reporting import uncertainty
    from dreamjax.reporting.accuracy import table
    from dreamjax.training.evaluation.model_evaluator import evaluate_model

    held_out = seed + loaded.config.seed + HELD_OUT
    result = evaluate_model(loaded.agent, policy, loaded.params, loaded.env, seed=held_out, **play)
    print(
        f"one-step prior, {result['steps']:,} steps of {result['episodes']} episodes; open loop after {result['context']}"
    )
    for name, rows in result["observations"].items():
        print(table(rows, name))
    if "disagreement" in result:
        print(uncertainty.table(result["disagreement"]))
    if not result["observations"]:
        print(f"{loaded.config.env.id} has no boards or other grids to predict")
    return result | {"model_seed": held_out}
