"""An agent on other games of Tetris than those it was trained on: other sequences of pieces, rows of garbage."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreamjax.training.collection.collector import Policy
    from dreamjax.training.storage.load import Loaded

GARBAGE = 5  # rows of --robustness
SEQUENCES = ("bag", "uniform", "sz")
Games = dict[str, dict[str, Any]]


def games_of(known: argparse.Namespace) -> Games:
    """The games to compare: environment arguments by name, the standard game first; empty where none are asked for."""
    standard: dict[str, Any] = {"randomizer": "bag", "garbage_rows": 0}
    garbage = known.garbage or (GARBAGE if known.robustness else 0)
    if known.robustness:
        others: Games = {name: standard | {"randomizer": name} for name in SEQUENCES[1:]}
        others[f"garbage {garbage}"] = standard | {"garbage_rows": garbage}
    elif known.sequence or garbage:
        sequence = known.sequence or "bag"
        name = f"{sequence}, garbage {garbage}" if garbage else sequence
        others = {name: {"randomizer": sequence, "garbage_rows": garbage}}
    else:
        return {}
    return {"bag": standard} | others


def compare(loaded: Loaded, policy: Policy, play: dict[str, Any], seed: int, games: Games) -> dict[str, Any]:
    """Plays each of ``games`` and prints its lines, and the lines lost against the first."""
    from dreamjax.envs.make import make_env
    from dreamjax.training.evaluation.evaluator import evaluate

    results: dict[str, Any] = {}
    print(f"{'game':<20}{'lines':>18}{'loss':>18}{'share':>9}{'pieces':>18}")
    for name, fields in games.items():
        config = dataclasses.replace(loaded.config.env, kwargs={**loaded.config.env.kwargs, **fields})
        env = make_env(config, play["num_envs"], seed=seed)
        try:
            result = evaluate(policy, loaded.params, env, seed=seed, **play)
        finally:
            env.close()
        assert result is not None
        results[name] = {"env": fields} | result
        text = f"{name:<20}{_with_error(result['lines']):>18}"
        if len(results) > 1:
            lost = loss(next(iter(results.values()))["lines"], result["lines"])
            results[name]["loss"] = lost
            share = "-" if lost["share"] is None else f"{100 * lost['share']:.0f} %"
            text += f"{_with_error(lost):>18}{share:>9}"
        else:
            text += f"{'':>27}"
        print(f"{text}{_with_error(result['pieces']):>18}", flush=True)
    return {"settings": results}


def loss(standard: dict[str, Any], other: dict[str, Any]) -> dict[str, float | None]:
    """Mean lines lost against the standard game, their standard error (games are independent), and the share lost."""
    mean = standard["mean"] - other["mean"]
    stderr = (standard["stderr"] ** 2 + other["stderr"] ** 2) ** 0.5
    return {"mean": mean, "stderr": stderr, "share": mean / standard["mean"] if standard["mean"] else None}


def _with_error(entry: dict[str, Any]) -> str:
    return f"{entry['mean']:.2f} ± {entry['stderr']:.2f}"
