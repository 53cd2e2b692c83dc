"""Draws real observations next to the world model's predictions, as GIF and PNG.

    dreamjax dream --workdir=runs/tetris_direct

The agent plays; where its environment cannot be made, steps of the run's replay are taken instead. The model observes the
first steps of each window and predicts the rest from the actions alone. The pictures and the learning curves of the run go
to its media folder.

Exit codes: 0 done, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dreamjax.commands import cli
from dreamjax.seeds import evaluation_seed
from dreamjax.training.storage import workdir

if TYPE_CHECKING:
    from dreamjax.training.storage.load import Loaded
    from dreamjax.types import Batch

MIN_STEPS = 200  # steps of each environment, so that windows also show later moments of a game


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser("dreamjax dream", __doc__)
    parser.add_argument("--workdir", type=Path, required=True, help="work directory of a run")
    parser.add_argument("--folder", type=Path, help="where the pictures go (default: media in the work directory)")
    parser.add_argument("--windows", type=int, default=16, help="number of windows that are predicted (default: 16)")
    parser.add_argument("--length", type=int, default=50, help="steps of each window (default: 50)")
    parser.add_argument(
        "--context", type=int, default=5, help="steps of each window that the model observes (default: 5)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of environments, policy and predictions (default: 0)")
    known = parser.parse_args(arguments)
    cli.require_at_least(known, windows=1, seed=0)
    if not 1 <= known.context < known.length:
        raise workdir.UsageError(
            f"--context={known.context} is not allowed: must be 1 or more, and less than --length={known.length}"
        )
    config = workdir.read_config(known.workdir)
    if known.folder is None and workdir.resolve(known.workdir) != known.workdir:
        raise workdir.UsageError(f"{known.workdir} comes with the package: name a folder for the pictures by --folder")
    folder = known.folder or known.workdir / "media"
    print(f"dreamjax: dreams of the agent of {known.workdir} in {config.env.id}", flush=True)

    cli.prepare(config.parallel)
    import jax

    from dreamjax.envs.checks import EnvError
    from dreamjax.reporting.curves import plot_curves
    from dreamjax.reporting.dreams import dream_report
    from dreamjax.training.storage.checkpoint import CheckpointError
    from dreamjax.training.storage.load import load

    seed = evaluation_seed(known.seed)
    num_envs = min(config.eval.num_envs, known.windows)
    try:
        loaded = load(known.workdir, num_envs=num_envs, seed=seed)
    except EnvError as error:
        raise workdir.UsageError(str(error)) from error
    except CheckpointError as error:
        return cli.fail(error)
    try:
        env = loaded.env
    except EnvError as error:
        print(f"{error}\nThe dreams are of steps in the replay of {known.workdir}", flush=True)
        batch = _replayed(loaded, known.windows, known.length, seed)
    else:
        try:
            steps = max(MIN_STEPS, 2 * known.length)
            batch = play(loaded, num_envs=num_envs, steps=steps, windows=known.windows, length=known.length, seed=seed)
        except EnvError as error:
            return cli.fail(error)
        finally:
            env.close()
    try:
        figures = dream_report(
            loaded.agent, loaded.params, batch, folder, key=jax.random.key(known.seed), context=known.context
        )
        print(f"checkpoint {loaded.path.name}, pictures in {folder}")
        if (known.workdir / "metrics.jsonl").is_file():
            plot_curves(known.workdir / "metrics.jsonl", folder / "curves.png")
    except OSError as error:
        return cli.fail(f"{folder} cannot be written: {error}")
    if not figures:
        print(f"{config.env.id} has no boards, images or vectors to show")
    for name, value in figures.items():
        print(f"{name:>44}  {value:.4f}")
    return cli.OK


def play(loaded: Loaded, *, num_envs: int, steps: int, windows: int, length: int, seed: int) -> Batch:
    """Windows ``[windows, length]`` of ``steps`` steps of each environment, played by the policy's samples."""
    from dreamjax.buffers.samplers import make_sampler
    from dreamjax.buffers.sequence_buffer import SequenceBuffer
    from dreamjax.config import ReplayConfig
    from dreamjax.training.collection.collector import Collector, make_policy

    replay = SequenceBuffer(
        loaded.env.spec,
        capacity=steps * num_envs,
        num_envs=num_envs,
        sampler=make_sampler(ReplayConfig(), num_envs=num_envs),
        seed=seed,
    )
    policy = make_policy(loaded.agent.policy, loaded.agent.initial_carry)
    collector = Collector(policy, loaded.env, replay, num_envs=num_envs, seed=seed)
    collector.start()
    for _ in range(steps):
        collector.begin(loaded.params)
        collector.finish()
    return replay.sample(windows, length)[0]


def _replayed(loaded: Loaded, windows: int, length: int, seed: int) -> Batch:
    """Windows ``[windows, length]`` of the steps that the checkpoint holds. Raises UsageError where it has none."""
    from dreamjax.config import ReplayConfig
    from dreamjax.training.storage import recording

    saved = recording.open_saved_replay(loaded.path.parents[1], "--workdir")
    config = ReplayConfig(capacity=saved.num_envs * saved.size, min_size=1)
    replay = recording.make_replay(config, saved.spec, num_envs=saved.num_envs, seed=seed)
    saved.fill(replay)
    if not replay.num_windows(length):
        raise workdir.UsageError(f"--length={length} is not allowed: the replay holds no window of that many steps")
    return replay.sample(windows, length)[0]
