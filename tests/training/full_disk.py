"""A run whose disk fills up, is freed and fills up again; what ``test_faults`` starts in a process of its own.

``python -m tests.training.full_disk DIRECTORY (device|limit)``: the directory is a small file
system of its own ("device"), which is then filled by a file, or files may not grow beyond a size ("limit").
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from pathlib import Path

from dreamjax.commands import cli, train
from dreamjax.reporting import dreams
from dreamjax.training import build, trainer
from tests.helpers.configs import make_tiny_config
from tests.helpers.fakes import FakeEnv, fake_agent

SMALL = 100  # bytes that files may have where there is a limit; a checkpoint's are larger


class Disk:
    """Asked between steps, it fills the disk from the step ``full`` on and frees it at ``free``."""

    def __init__(self, directory: Path, kind: str, full: int, free: int) -> None:
        self.ballast, self.kind, self.full, self.free, self.asked = directory / "ballast", kind, full, free, 0

    def __call__(self) -> bool:
        if self.asked == self.full:
            self.fill()
        if self.asked == self.free:
            self.clear()
        self.asked += 1
        return False

    def fill(self) -> None:
        if self.kind == "limit":
            resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, resource.RLIM_INFINITY))
            return
        with contextlib.suppress(OSError), self.ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 1024)

    def clear(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.ballast.unlink(missing_ok=True)


def run(directory: Path, disk: Disk, total_steps: int) -> int:
    config = make_tiny_config(
        total_steps=total_steps, train_ratio=12.0, checkpoint={"every": 30, "keep": 10},
        log={"tensorboard": False, "metrics_every": 5, "every": 1e9}, eval={"episodes": 2},
    )  # fmt: skip
    return cli.run(lambda: train._run(config, directory / "run", "auto", disk))  # type: ignore[arg-type]


def main(where: str, kind: str) -> None:
    directory = Path(where)
    trainer.make_agent = lambda *_: fake_agent()  # type: ignore[assignment, misc]
    build.make_env = lambda env, num, *, seed: FakeEnv([3, 7][:num])  # type: ignore[assignment, misc]
    dreams.dream_report = lambda *args, **kwargs: {}  # type: ignore[assignment]
    # Two environment steps between questions. Checkpoints are due at 30, 60 and 90, and at the end.
    print("freed in time:", run(directory, Disk(directory, kind, 20, 40), 96))
    last = Disk(directory, kind, 1, -1)
    print("full at the end:", run(directory, last, 110))
    last.clear()
    if kind == "device":
        command = ["mount", "-o", "remount,ro", where]
        subprocess.run(command, check=True)
        print("read-only:", run(directory, Disk(directory, "limit", -1, -1), 110))
        subprocess.run([*command[:2], "remount,rw", where], check=True)
    print("free again:", run(directory, Disk(directory, kind, -1, -1), 110))
    print("checkpoints:", *sorted(os.listdir(directory / "run" / "checkpoints")))


if __name__ == "__main__":
    main(*sys.argv[1:])
