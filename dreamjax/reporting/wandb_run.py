"""A run's metrics in Weights & Biases, where the package ``wandb`` is installed (the extra ``wandb``)."""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dreamjax import files
from dreamjax.config import ConfigError

INSTALL = "pip install wandb"
RUN_ID = "wandb/run_id"  # in the work directory, so that a continued run is the same one


def start(project: str, workdir: Path, config: Mapping[str, Any]) -> Any:
    """Starts, or continues, the ``wandb.Run`` of a work directory; its files go to ``wandb/`` there.

    The horizontal axis of every metric is ``step``. The package's own variables work: ``WANDB_MODE=offline`` only writes
    the files, which ``wandb sync`` sends later.

    Args:
        project: its name in Weights & Biases. workdir: of the run, whose name the run gets. config: shown beside the run.

    Raises:
        ConfigError: the package is missing, or cannot start (nobody has logged in, no connection).
    """
    try:
        wandb = importlib.import_module("wandb")
    except ImportError:
        raise ConfigError(f"log.wandb={project!r} needs the package wandb: {INSTALL}") from None
    try:
        run = wandb.init(
            project=project,
            name=workdir.resolve().name,
            id=_run_id(workdir),
            resume="allow",
            dir=str(workdir),
            config=dict(config),
            settings=wandb.Settings(console="off"),  # the terminal stays ours
        )
    except wandb.errors.Error as error:
        said = str(error).rstrip(". ")
        raise ConfigError(
            f"log.wandb={project!r} is set, and wandb cannot start: {said}. With WANDB_MODE=offline it needs no account"
        ) from None
    run.define_metric("*", step_metric="step")
    return run


def _run_id(workdir: Path) -> str:
    """The id that this directory's run was given, or a new one, which is kept."""
    path = workdir / RUN_ID
    if not path.is_file():
        files.write_text(path, secrets.token_hex(8))
    return path.read_text()
