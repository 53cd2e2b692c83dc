"""Trains an agent, or continues the run in the work directory.

    dreamjax train --config=tetris_direct
    dreamjax train --config=tetris_direct:smoke --workdir=runs/try
    dreamjax train --config=experiments/cartpole.py --config.seed=1 --config.total_steps=1e5

--config takes the name of a configuration that ships with the package, or the path of a Python file with get_config();
variants follow a colon, joined by commas. --config.FIELD=VALUE sets any field of it: `dreamjax config` lists them.
--init_from, --init_from.modules and --offline.replay are short for init_from.path, init_from.modules, offline.replay:

    dreamjax train --config=NAME --init_from=runs/before --init_from.modules=world_model,critic
    dreamjax train --config=NAME --offline.replay=runs/before

A run of several processes: start the same command in each, with its own process_id (SLURM sets all three):

    dreamjax train --config=NAME --workdir=SHARED --distributed.coordinator=HOST:PORT \\
        --distributed.num_processes=2 --distributed.process_id=0

Ctrl-C and SIGTERM write a checkpoint and exit.
Exit codes: 0 complete, or stopped with a checkpoint; 1 failure; 2 wrong usage or configuration.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamjax import configs
from dreamjax.commands import cli
from dreamjax.config import Config, ConfigError
from dreamjax.training.runtime.stop import Stop
from dreamjax.training.storage import workdir

if TYPE_CHECKING:
    from dreamjax.training.runtime import hosts


SHORT = {
    "init_from": ("init_from.path", "work directory or checkpoint whose parameters the run starts from"),
    "init_from.modules": ("init_from.modules", "patterns of the parameters to take, joined by commas (default: all)"),
    "offline.replay": ("offline.replay", "work directory or NPZ file to learn from, without an environment"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _parser() -> cli.Parser:
    parser = cli.Parser("dreamjax train", __doc__)
    parser.add_argument(
        "--config",
        required=True,
        metavar="NAME[:variant]",
        help=f"one of {', '.join(configs.names())}, or the path of a configuration file",
    )
    parser.add_argument("--workdir", type=Path, help="directory of the run (default: runs/NAME[_variant])")
    parser.add_argument(
        "--resume",
        choices=("auto", "never", "must"),
        default="auto",
        help="continue the run in the work directory: if there is one, never, or always (default: auto)",
    )
    for flag, (_, text) in SHORT.items():
        parser.add_argument(f"--{flag}", metavar="VALUE", help=text)
    parser.add_argument("--distributed.coordinator", metavar="HOST:PORT", help="address of process 0")
    parser.add_argument("--distributed.num_processes", type=int, metavar="N", help="number of processes of the run")
    parser.add_argument("--distributed.process_id", type=int, metavar="I", help="number of this process, from 0")
    return parser


def _main(arguments: Sequence[str] | None) -> int:
    known, rest = _parser().parse_known_args(arguments)
    given = {field: vars(known)[flag] for flag, (field, _) in SHORT.items() if vars(known)[flag] is not None}
    config = cli.load_config(known.config, cli.split_overrides(rest) | given)
    path = known.workdir or default_workdir(known.config)
    process = vars(known)["distributed.process_id"]
    if int(os.environ.get("SLURM_PROCID", 0) if process is None else process) == 0:
        workdir.check(path, config, known.resume)
        print(
            f"dreamjax: {known.config} on {config.env.id} for {config.total_steps:,} environment steps in {path}",
            flush=True,
        )

    with Stop() as stop:
        return _train(config, path, known.resume, stop, vars(known))


def default_workdir(source: str) -> Path:
    """``runs/NAME[_variant]`` of a configuration's name or path."""
    name, variant = configs.split_variant(source)
    stem = Path(name).stem
    return Path("runs") / (f"{stem}_{variant}" if variant else stem)


def _train(config: Config, path: Path, resume: workdir.Resume, stop: Stop, given: dict[str, Any]) -> int:
    cli.prepare(config.parallel)
    # Only now: JAX takes seconds to import, and reads the settings made above.
    from dreamjax.training.runtime import hosts

    hosts.join(hosts.settings(*(given[f"distributed.{name}"] for name in hosts.Settings._fields)))
    group = hosts.Group()
    if group.count == 1:
        return _run_alone(config, path, resume, stop)
    code = cli.run(lambda: _run_with_others(group, config, path, resume, stop))
    return code if code == cli.OK else group.abort(code)


def _run(config: Config, path: Path, resume: workdir.Resume, stop: Stop) -> int:
    from dreamjax.envs.checks import EnvError
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
    """Runs the only process. Of an unexpected error, prints the traceback and the last good checkpoint."""
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
    """Runs one process of several. Where another process is lost, says so instead of printing the backend's error."""
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
