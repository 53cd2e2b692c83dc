"""Writes the replay of a run as one NPZ file, or says what such a file holds.

    python -m experiments.replay --workdir=runs/tetris_direct --npz=replay.npz
    python -m experiments.replay --npz=replay.npz
    python -m experiments.train --config=FILE --offline.replay=replay.npz

The file holds plain arrays (dreamjax/training/storage/recording.py lists them) and nothing that could run code.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from dreamjax.training.storage.workdir import UsageError
from experiments import cli


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser(__doc__ or "")
    parser.add_argument("--npz", type=Path, required=True, metavar="FILE", help="the file to write, or to look into")
    parser.add_argument("--workdir", type=Path, help="the run whose newest intact checkpoint is exported")
    known = parser.parse_args(arguments)
    if known.npz.suffix != ".npz":
        raise UsageError(f"--npz={known.npz} is not allowed: must end with .npz")
    from dreamjax.training.storage import recording

    if known.workdir is not None:
        found = recording.open_recording(known.workdir, "--workdir")
        try:
            steps = recording.export_npz(found, known.npz)
        except OSError as error:
            raise UsageError(f"--npz={known.npz} cannot be written: {error}") from None
        print(f"wrote {steps:,} steps of {found.num_envs} streams to {known.npz}, {known.npz.stat().st_size:,} bytes")
        return cli.OK
    found = recording.open_recording(known.npz, "--npz")
    print(f"{known.npz}: {found.steps:,} steps of {found.num_envs} streams")
    for name, entry in found.spec.obs.items():
        print(f"obs/{name}: {entry.kind} {entry.dtype} {list(entry.shape)}")
    print("action: " + ", ".join(f"{part.kind} {part.size}" for part in found.spec.action.parts))
    return cli.OK


if __name__ == "__main__":
    sys.exit(main())
