"""Trains an agent; called again on the same work directory, it goes on where it stopped.

    python -m experiments.train --config=experiments/tetris_direct.py
    python -m experiments.train --config=experiments/tetris_direct.py:smoke --workdir=runs/try
    python -m experiments.train --config=experiments/cartpole.py --config.seed=1 --config.total_steps=1e5

--config.FIELD=VALUE sets any field of dreamjax/config.py. Ctrl-C or SIGTERM writes a checkpoint and exits. Exit codes:
0 complete or stopped with a checkpoint, 1 failure, 2 wrong usage or configuration.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dreamjax.config import Config
from dreamjax.training import memory, workdir
from dreamjax.training.stop import Stop
from experiments import cli


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser(__doc__ or "")
    parser.add_argument("--config", required=True, metavar="FILE[:variant]", help="a file of experiments/")
    parser.add_argument("--workdir", type=Path, help="where the run lives (default: runs/<config>[_<variant>])")
    parser.add_argument("--resume", choices=("auto", "never", "must"), default="auto", help="(default: auto)")
    parser.add_argument("--distributed.coordinator", metavar="HOST:PORT", help="of a run on several processes")
    parser.add_argument("--distributed.num_processes", type=int, metavar="N")
    parser.add_argument("--distributed.process_id", type=int, metavar="I")
    known, rest = parser.parse_known_args(arguments)
    config = cli.load_config(known.config, cli.split_overrides(rest))
    file, variant = cli.split_variant(known.config)
    path = known.workdir or Path("runs") / (f"{file.stem}_{variant}" if variant else file.stem)
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
    from dreamjax.envs.adapter import EnvError
    from dreamjax.training import parallel
    from dreamjax.training.trainer import CheckpointError, Trainer, TrainError

    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    parallel.initialize(*(given[f"distributed.{name}"] for name in ("coordinator", "num_processes", "process_id")))
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


if __name__ == "__main__":
    sys.exit(main())
