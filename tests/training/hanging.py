"""A run whose environment hangs in its own process, for ``test_watchdog``."""

from __future__ import annotations

import sys
from pathlib import Path

from dreamjax.commands import cli, train
from dreamjax.training import trainer
from tests.helpers.configs import make_tiny_config
from tests.helpers.fakes import fake_agent

if __name__ == "__main__":
    trainer.make_agent = lambda *_: fake_agent()  # type: ignore[assignment]
    config = make_tiny_config(
        total_steps=96,
        train_ratio=12.0,
        checkpoint={"every": 30, "keep": 10},
        env={
            "id": "tests.training.faulty:Faulty-v0",
            "warn_after": 0.6,
            "abort_after": 3.0,
            "kwargs": {"fault": "hang", "at": 25, "length": 30},
        },
    )
    path = Path(sys.argv[1])
    sys.exit(cli.run(lambda: train._run_alone(config, path, "auto", lambda: False)))  # type: ignore[arg-type]
