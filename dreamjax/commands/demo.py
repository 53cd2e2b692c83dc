"""Shows a dream of an agent that comes with the package; nothing is trained.

    dreamjax demo
    dreamjax demo --agent=tetris_locked --gif=dream.gif

The agent plays a few moments of Tetris. Then the world model sees the first frames of one of them and dreams the rest
from the agent's actions alone: left the game, in the middle the dream, right the difference (blue: only in the game,
orange: only in the dream). Which piece comes next is chance, so the dream draws its own.

Exit codes: 0 shown, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dreamjax.commands import cli
from dreamjax.training.storage import workdir

if TYPE_CHECKING:
    from dreamjax.types import ObsSpec

AGENT = "tetris_direct"
CONTEXT = 5  # frames that the model sees
PLAYED, WINDOWS = 100, 8  # steps that the agent plays, and moments among them from which one is chosen
TITLES = ("game", "dream", "difference")
GAP = "   "
PIXELS = 4  # of a picture that one half of a character shows


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser("dreamjax demo", __doc__)
    parser.add_argument(
        "--agent", default=AGENT, choices=workdir.shipped_names(), help=f"shipped agent (default: {AGENT})"
    )
    parser.add_argument("--steps", type=int, default=20, help="steps that are dreamed (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the game and the dream (default: 0)")
    parser.add_argument("--delay", type=float, default=0.3, metavar="S", help="seconds of each frame (default: 0.3)")
    parser.add_argument("--gif", type=Path, metavar="FILE", help="also write the dream as a GIF")
    known = parser.parse_args(arguments)
    cli.require_at_least(known, steps=1, seed=0, delay=0)
    if known.steps > PLAYED - CONTEXT:
        raise workdir.UsageError(f"--steps={known.steps} is not allowed: must be {PLAYED - CONTEXT} or less")
    config = workdir.read_config(known.agent)
    print(f"dreamjax: {known.agent} plays, and its world model dreams; starting ...", flush=True)
    cli.prepare(config.parallel)
    spec, result = _dream(known.agent, steps=known.steps, seed=known.seed)
    name = next(name for name, entry in spec.items() if entry.kind == "grid")
    window = int(np.argmax(result["valid"].sum(1)))
    shown = int(result["valid"][window].sum())  # frames until the game ended, if it did
    real, dream = (np.asarray(result[key][name][window, :shown]) for key in ("real", "dream"))
    try:
        if sys.stdout.isatty():
            _animate(spec[name], real, dream, delay=known.delay)
        else:
            print("\n\n".join(_texts(real, dream)))
    except KeyboardInterrupt:
        return cli.OK
    right = [bool((np.rint(guess) == truth).all()) for guess, truth in zip(dream, real, strict=True)][CONTEXT:]
    exact = right.index(False) if False in right else len(right)
    print(f"the first {exact} of {len(right)} dreamed frames are right, cell for cell")
    if known.gif:
        from dreamjax.reporting.dreams import dream_frames
        from dreamjax.reporting.media import write_gif

        frames = dream_frames({name: spec[name]}, result, np.array([window]), context=CONTEXT)
        try:
            write_gif(known.gif, frames[:shown], frames_per_second=1 / max(known.delay, 0.05))
        except OSError as error:
            return cli.fail(f"{known.gif} cannot be written: {error}")
        print(f"wrote {known.gif}")
    print(f"next: dreamjax play --agent={known.agent}; dreamjax train --config={known.agent}:smoke")
    return cli.OK


def _dream(agent: str, *, steps: int, seed: int) -> tuple[dict[str, ObsSpec], dict[str, Any]]:
    """Observations of the agent's environment, and the open loop of ``WINDOWS`` moments of its game."""
    import jax

    from dreamjax.commands.dream import play
    from dreamjax.seeds import evaluation_seed
    from dreamjax.training.storage.load import load

    loaded = load(agent, num_envs=1, seed=evaluation_seed(seed))
    try:
        length = CONTEXT + steps
        batch = play(loaded, num_envs=1, steps=PLAYED, windows=WINDOWS, length=length, seed=evaluation_seed(seed))
    finally:
        loaded.env.close()
    open_loop = jax.jit(loaded.agent.open_loop, static_argnames="context")
    return dict(loaded.agent.spec.obs), jax.device_get(
        open_loop(loaded.params, batch, jax.random.key(seed), context=CONTEXT)
    )


def _caption(t: int) -> str:
    return f"frame {t + 1}, seen" if t < CONTEXT else f"frame {t + 1}, dreamed: {t + 1 - CONTEXT} without looking"


def _animate(entry: ObsSpec, real: np.ndarray, dream: np.ndarray, *, delay: float) -> None:
    """The frames one after the other, in place."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from dreamjax.reporting import visualization as vis

    with Live(auto_refresh=False) as live:
        for t in range(len(real)):
            pictures = [
                vis.picture(entry, real[t]),
                vis.picture(entry, dream[t]),
                vis.difference(entry, real[t], dream[t]),
            ]
            rows = list(zip(*(half_blocks(p[::PIXELS, ::PIXELS]) for p in pictures), strict=True))
            width = len(rows[0][0])
            titles = GAP.join(title.ljust(width) for title in TITLES)
            style = "grey62" if t < CONTEXT else "bold medium_purple"
            lines = [Text(titles), *(Text(GAP).join(row) for row in rows), Text(_caption(t), style=style)]
            live.update(Group(*lines), refresh=True)
            time.sleep(delay)


def half_blocks(picture: np.ndarray) -> list[Any]:
    """A picture uint8 ``[2 R, C, 3]`` as ``R`` lines of ``C`` characters, each with two pixels, one above the other."""
    from rich.text import Text

    lines = []
    for above, below in zip(picture[::2], picture[1::2], strict=True):
        line = Text()
        for top, bottom in zip(above.tolist(), below.tolist(), strict=True):
            line.append("▀", style=f"rgb({top[0]},{top[1]},{top[2]}) on rgb({bottom[0]},{bottom[1]},{bottom[2]})")
        lines.append(line)
    return lines


def _texts(real: np.ndarray, dream: np.ndarray) -> Iterator[str]:
    """The last frame that is seen, and every fifth that is dreamed, as characters."""
    for t in range(CONTEXT - 1, len(real), 5):
        sides = [characters(real[t]), characters(dream[t])]
        titles = GAP.join(title.ljust(len(sides[0][0])) for title in TITLES[:2])
        yield "\n".join([_caption(t), titles, *(GAP.join(row) for row in zip(*sides, strict=True))])


def characters(grid: np.ndarray) -> list[str]:
    """A grid ``[C, H, W]`` as lines: ``.`` empty, ``#`` the first channel, ``@`` any other."""
    cells = np.rint(np.asarray(grid, np.float32)) > 0
    marks = np.where(cells[1:].any(0), "@", np.where(cells[0], "#", "."))
    return ["".join(row) for row in marks]
