"""Makes an agent that comes with the package out of a run: `dreamjax.load("NAME")`.

    dreamjax ship --workdir=runs/tetris_locked --name=tetris_locked

Writes the parameters, the configuration, the origin and the measured play to `dreamjax/shipped/NAME`. The agent acts as in
the evaluations of its run: by its policy, or by its planner where `planner.evaluate` is true. --dtype=float16 is refused
where the greedy games differ from those in float32.

Exit codes: 0 done, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dreamjax.commands import cli
from dreamjax.seeds import evaluation_seed
from dreamjax.training.storage import workdir
from dreamjax.training.storage.workdir import UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser("dreamjax ship", __doc__)
    parser.add_argument("--workdir", type=Path, required=True, help="work directory of the run")
    parser.add_argument("--name", required=True, help="name of the agent: lower-case letters, digits and _")
    parser.add_argument(
        "--checkpoint", choices=("best", "latest"), default="best", help="which checkpoint (default: best)"
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float16"), default="float32", help="of the parameters (default: float32)"
    )
    parser.add_argument("--episodes", type=int, default=100, help="number of games that measure it (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="seed of these games, as in evaluate (default: 1)")
    parser.add_argument("--command", default="", help="command that trained it, for its README")
    parser.add_argument("--folder", type=Path, default=workdir.SHIPPED, help="(default: dreamjax/shipped)")
    known = parser.parse_args(arguments)
    cli.require_at_least(known, episodes=1, seed=0)
    config = workdir.read_config(known.workdir)
    print(f"dreamjax: shipping the agent of {known.workdir} as {known.name}", flush=True)

    cli.prepare(config.parallel)
    from dreamjax.envs.checks import EnvError
    from dreamjax.training.collection.acting import acts_by, policy_by
    from dreamjax.training.evaluation.evaluator import evaluate
    from dreamjax.training.storage import shipped
    from dreamjax.training.storage.checkpoint import CheckpointError
    from dreamjax.training.storage.load import load

    shipped.check_name(known.name)
    seed = evaluation_seed(known.seed)
    num_envs = min(config.eval.num_envs, known.episodes)
    try:
        loaded = load(known.workdir, num_envs=num_envs, which=known.checkpoint)
        env = loaded.env
    except EnvError as error:
        raise UsageError(str(error)) from error
    except CheckpointError as error:
        return cli.fail(error)
    try:
        agent = acts_by(config, "evaluate")
        policy = policy_by(loaded.agent, agent)
        play: dict[str, Any] = dict(num_envs=num_envs, episodes=known.episodes, greedy=True, seed=seed)
        play["max_length"] = config.eval.max_length
        result = evaluate(policy, loaded.params, env, **play)
        if known.dtype != "float32":
            again = evaluate(policy, shipped.rounded(loaded.params, known.dtype), env, **play)
            if again != result:
                raise UsageError(f"--dtype={known.dtype} is not allowed: its games differ from those in float32")
    except EnvError as error:
        return cli.fail(error)
    finally:
        env.close()
    assert result is not None
    figures = {name: {"mean": entry["mean"], "stderr": entry["stderr"]} for name, entry in result.items()}
    facts = {
        "command": known.command,
        "seed": config.seed,
        "step": loaded.meta["step"],
        "update": loaded.meta["update"],
        "versions": loaded.meta.get("versions", {}),
        **loaded.trained_in.to_meta(),
        "measured": {"episodes": known.episodes, "seed": seed, "greedy": True, "agent": agent} | figures,
    }
    readme = readme_of(known.name, config.env.id, facts)
    try:
        folder = shipped.write(known.name, config, loaded.params, facts, readme, dtype=known.dtype, root=known.folder)
    except OSError as error:
        return cli.fail(f"{known.folder / known.name} cannot be written: {error}")
    size = (folder / shipped.PARAMS).stat().st_size
    print(f"{readme}\n{folder}: {size:,} bytes of parameters")
    return cli.OK


def readme_of(name: str, env: str, facts: dict[str, Any]) -> str:
    """The README of a shipped agent, in Markdown."""
    measured = facts["measured"]
    figures = ", ".join(
        f"{entry['mean']:.2f} ± {entry['stderr']:.2f} {key}"
        for key, entry in measured.items()
        if isinstance(entry, dict)
    )
    check = f"dreamjax evaluate --workdir={name} --episodes={measured['episodes']} --seed={measured['seed']}"
    if measured["agent"] != "policy":
        check += f" --agent={measured['agent']}"
    trained = f" by `{facts['command']}`" if facts["command"] else ""
    return (
        f"# {name}\n\n"
        f"Plays {env}. Trained{trained} with seed {facts['seed']}: {facts['step']:,} environment steps, "
        f"{facts['update']:,} updates. Over {measured['episodes']} greedy games: {figures} (mean ± standard error; "
        f"`{check}`).\n"
    )
