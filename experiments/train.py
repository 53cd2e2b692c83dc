"""Trains an agent; called again on the same work directory, it goes on where it stopped.

    python -m experiments.train --config=experiments/tetris_direct.py
    python -m experiments.train --config=experiments/tetris_direct.py:smoke --workdir=runs/try
    python -m experiments.train --config=experiments/cartpole.py --config.seed=1 --config.total_steps=1e5

Several processes, each with the same command and its own number (or under SLURM, which says all three itself):

    python -m experiments.train --config=FILE --workdir=SHARED --distributed.coordinator=HOST:PORT \\
        --distributed.num_processes=2 --distributed.process_id=0

--config.FIELD=VALUE sets any field; `dreamjax config` lists them. --init_from, --init_from.modules and --offline.replay are
short for the fields init_from.path, init_from.modules and offline.replay:

    python -m experiments.train --config=FILE --init_from=runs/before --init_from.modules=world_model,critic
    python -m experiments.train --config=FILE --offline.replay=runs/before

Ctrl-C or SIGTERM writes a checkpoint and exits. Exit codes:
0 complete or stopped with a checkpoint, 1 failure, 2 wrong usage or configuration.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamjax.config import Config, ConfigError
from dreamjax.training.runtime import memory
from dreamjax.training.runtime.stop import Stop
from dreamjax.training.storage import workdir
from experiments import cli

if TYPE_CHECKING:
    from dreamjax.training.runtime import hosts


SHORT = {
    "init_from": ("init_from.path", "a checkpoint or a work directory to begin with the parameters of"),
    "init_from.modules": ("init_from.modules", "patterns of the parameters to take, joined by commas (default: all)"),
    "offline.replay": ("offline.replay", "a work directory or NPZ file to learn from, without an environment"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser(__doc__ or "")
    parser.add_argument("--config", required=True, metavar="FILE[:variant]", help="a file of experiments/")
    parser.add_argument("--workdir", type=Path, help="where the run lives (default: runs/<config>[_<variant>])")
    parser.add_argument("--resume", choices=("auto", "never", "must"), default="auto", help="(default: auto)")
    for flag, (_, text) in SHORT.items():
        parser.add_argument(f"--{flag}", metavar="VALUE", help=text)
    parser.add_argument("--distributed.coordinator", metavar="HOST:PORT", help="of a run on several processes")
    parser.add_argument("--distributed.num_processes", type=int, metavar="N")
    parser.add_argument("--distributed.process_id", type=int, metavar="I")
    known, rest = parser.parse_known_args(arguments)
    given = {field: vars(known)[flag] for flag, (field, _) in SHORT.items() if vars(known)[flag] is not None}
    config = cli.load_config(known.config, cli.split_overrides(rest) | given)
    file, variant = cli.split_variant(known.config)
    path = known.workdir or Path("runs") / (f"{file.stem}_{variant}" if variant else file.stem)
    process = vars(known)["distributed.process_id"]
    if int(os.environ.get("SLURM_PROCID", 0) if process is None else process) == 0:  # of several, the first one writes
        workdir.check(path, config, known.resume)
        print(
            f"dreamjax: {known.config} on {config.env.id} for {config.total_steps:,} environment steps in {path}",
            flush=True,
        )

    with Stop() as stop:
        return _train(config, path, known.resume, stop, vars(known))


def _train(config: Config, path: Path, resume: workdir.Resume, stop: Stop, given: dict[str, Any]) -> int:
    memory.configure(config.parallel)
    cli.cache_compilations()
    # Only now: JAX takes seconds to import, and reads the settings made above.
    from dreamjax.training.runtime import hosts

    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    hosts.join(hosts.settings(*(given[f"distributed.{name}"] for name in hosts.Settings._fields)))
    group = hosts.Group()
    if group.count == 1:
        return _run_alone(config, path, resume, stop)
    code = cli.run(lambda: _run_with_others(group, config, path, resume, stop))
    return code if code == cli.OK else group.leave(code)


def _run(config: Config, path: Path, resume: workdir.Resume, stop: Stop) -> int:
    from dreamjax.envs.adapter import EnvError
    from dreamjax.training.trainer import CheckpointError, Trainer, TrainError

    try:
        trainer = Trainer(config, path, resume=resume, stop=stop)
    except EnvError as error:
        raise workdir.UsageError(str(error)) from error
    except CheckpointError as error:
        return cli.fail(error)
    try:
        trainer.run()
    except (TrainError, CheckpointError, EnvError) as error:
        return cli.fail(f"{error}. Last good checkpoint: {trainer.last_checkpoint() or 'none'}")
    finally:
        trainer.close()
    return cli.OK


def _run_alone(config: Config, path: Path, resume: workdir.Resume, stop: Stop) -> int:
    """As ``_run``; what nobody foresaw (an environment raised, most often) is told with its traceback and what is left."""
    from dreamjax.training.storage import checkpoint

    try:
        return _run(config, path, resume, stop)
    except (ConfigError, workdir.UsageError):
        raise
    except Exception as error:
        traceback.print_exc()
        newest = checkpoint.latest(path) or "none"
        return cli.fail(f"{type(error).__name__}: {error}. Last good checkpoint: {newest}")


def _run_with_others(group: hosts.Group, config: Config, path: Path, resume: workdir.Resume, stop: Stop) -> int:
    """As ``_run``; where another process is lost, says so rather than what the devices make of it."""
    from dreamjax.training.runtime import hosts
    from dreamjax.training.storage import checkpoint

    try:
        return _run(config, path, resume, stop)
    except (ConfigError, workdir.UsageError):
        raise
    except Exception as error:  # a broken connection is a RuntimeError or a ValueError, by the backend
        if not isinstance(error, hosts.ProcessLost) and not hosts.is_connection(error):
            traceback.print_exc()
        reason = group.failure() or str(error).partition("\n")[0]
        return cli.fail(
            f"process {group.index} ends, the run has lost a process ({reason}). Start all of them again to go on from "
            f"{checkpoint.latest(path) or 'the beginning'}"
        )


if __name__ == "__main__":
    sys.exit(main())
