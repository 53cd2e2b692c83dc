"""Writes the replay of a run as an NPZ file, or describes such a file.

    dreamjax export --workdir=runs/tetris_direct --npz=replay.npz
    dreamjax export --npz=replay.npz
    dreamjax train --config=NAME --offline.replay=replay.npz

The file holds plain arrays, which dreamjax/training/storage/recording.py lists, and nothing that could run code.

Exit codes: 0 done, 2 wrong usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dreamjax.commands import cli
from dreamjax.training.storage.workdir import UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser("dreamjax export", __doc__)
    parser.add_argument("--npz", type=Path, required=True, metavar="FILE", help="file to write, or to describe")
    parser.add_argument("--workdir", type=Path, help="run whose newest intact checkpoint is exported")
    known = parser.parse_args(arguments)
    if known.npz.suffix != ".npz":
        raise UsageError(f"--npz={known.npz} is not allowed: must end with .npz")
    from dreamjax.training.storage import recording

    if known.workdir is not None:
        found = recording.open_saved_replay(known.workdir, "--workdir")
        try:
            steps = recording.export_npz(found, known.npz)
        except OSError as error:
            raise UsageError(f"--npz={known.npz} cannot be written: {error}") from None
        print(f"wrote {steps:,} steps of {found.num_envs} streams to {known.npz}, {known.npz.stat().st_size:,} bytes")
        return cli.OK
    found = recording.open_saved_replay(known.npz, "--npz")
    print(f"{known.npz}: {found.steps:,} steps of {found.num_envs} streams")
    for name, entry in found.spec.obs.items():
        print(f"obs/{name}: {entry.kind} {entry.dtype} {list(entry.shape)}")
    print("action: " + ", ".join(f"{part.kind} {part.size}" for part in found.spec.action.parts))
    return cli.OK
