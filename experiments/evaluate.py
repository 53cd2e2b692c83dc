"""Evaluates a trained agent over whole episodes: mean, standard error and every episode.

    python -m experiments.evaluate --workdir=runs/tetris_direct --episodes=100 --json=result.json

Exit codes: 0 done, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from dreamjax.training import memory, workdir
from experiments import cli


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser(__doc__ or "")
    parser.add_argument("--workdir", type=Path, required=True, help="of a run of experiments.train")
    parser.add_argument("--episodes", type=int, default=100, help="(default: 100)")
    parser.add_argument("--agent", choices=("policy", "planner"), default="policy", help="(default: policy)")
    parser.add_argument("--greedy", type=cli.boolean, default=True, metavar="true|false", help="(default: true)")
    parser.add_argument("--seed", type=int, default=0, help="of environments and policy (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result here")
    known = parser.parse_args(arguments)
    if known.episodes < 1:
        raise workdir.UsageError(f"--episodes={known.episodes} is not allowed: must be 1 or more")
    if known.seed < 0:
        raise workdir.UsageError(f"--seed={known.seed} is not allowed: must be 0 or more")
    if known.agent == "planner":
        raise workdir.UsageError("--agent=planner is not there yet: use --agent=policy")
    config = workdir.read_config(known.workdir)
    print(f"dreamjax: {known.episodes} episodes of {config.env.id} by the agent of {known.workdir}", flush=True)

    memory.configure(config.parallel)
    cli.cache_compilations()
    from dreamjax.envs.adapter import EnvError
    from dreamjax.training.checkpoint import CheckpointError
    from dreamjax.training.collector import make_policy
    from dreamjax.training.evaluator import evaluate
    from dreamjax.training.load import load

    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    num_envs = min(config.eval.num_envs, known.episodes)
    try:
        loaded = load(known.workdir, num_envs=num_envs, seed=known.seed)
    except EnvError as error:
        raise workdir.UsageError(str(error)) from error
    except CheckpointError as error:
        return cli.fail(error)
    try:
        result = evaluate(
            make_policy(loaded.agent.policy, loaded.agent.initial_carry),
            loaded.params,
            loaded.env,
            num_envs=num_envs,
            episodes=known.episodes,
            greedy=known.greedy,
            seed=known.seed,
        )
    except EnvError as error:
        return cli.fail(error)
    finally:
        loaded.env.close()
    assert result is not None
    print(f"checkpoint {loaded.path.name}, {loaded.meta['update']:,} updates")
    for name, entry in result.items():
        print(f"{name:>8}  {entry['mean']:10.3f} ± {entry['stderr']:.3f}")
    if known.json:
        facts = {"agent": known.agent, "greedy": known.greedy, "seed": known.seed, "step": loaded.meta["step"]}
        try:
            known.json.parent.mkdir(parents=True, exist_ok=True)
            known.json.write_text(json.dumps(result | facts, indent=1) + "\n")
        except OSError as error:
            return cli.fail(f"--json={known.json} cannot be written: {error}")
    return cli.OK


if __name__ == "__main__":
    sys.exit(main())
