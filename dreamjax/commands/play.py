"""Plays Tetris in the terminal, by hand or by a trained agent.

    dreamjax play                            # eight buttons, in real time
    dreamjax play --mode=locked_position     # each piece is placed on a cell
    dreamjax play --workdir=runs/tetris_direct --games=3
    dreamjax play --agent=tetris_locked --planner --simulations=100    # plans before every move

direct: left and right or a d shift, down or s drops by a row, up or x turns clockwise, z turns back, space drops to the
floor, c holds. Keys that fall into one step are pressed together. locked_position: left and right choose the column, up
and down the cell in it, which is one rotation of the piece each; space places the piece where the ghost shows it.
p pauses, q ends.

Exit codes: 0 played, 1 failure, 2 wrong usage or no terminal.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dreamjax.commands import cli
from dreamjax.commands.keyboard import Keys, Terminal, landing, move, nearest, pressed
from dreamjax.commands.stopwatch import Stopwatch
from dreamjax.training.runtime import compile_cache
from dreamjax.training.storage import workdir
from dreamjax.training.storage.workdir import UsageError

if TYPE_CHECKING:
    from dreamjax.config import EnvConfig
    from dreamjax.envs.tetris.gym import TetrisEnv
    from dreamjax.envs.tetris.render import Picture, Screen

MODES = ("direct", "locked_position")
STEP_SECONDS = 0.1
ROW_SECONDS = 0.5  # how fast pieces fall for people
NO_LIMIT = 2**30  # of steps of a game played by hand


# Games.


def play_direct(env: TetrisEnv, keys: Keys, screen: Screen, *, delay: float) -> bool:
    """One game by hand, a step every ``delay`` seconds; False where it was left by q."""
    note = "arrows move and turn, z turns back, space drops, c holds, p pauses, q ends"
    ended = False
    while not ended:
        picture = picture_of(env)
        screen.show(picture, ghost=landing(picture.cells), note=note)
        now = keys.read(delay)
        if "p" in now:
            screen.show(picture, note="paused: press any key to continue")
            now = keys.read(None)
        if "q" in now:
            return False
        _, _, terminated, truncated, _ = env.step(pressed(now))
        ended = terminated or truncated
    return True


def play_locked(env: TetrisEnv, keys: Keys, screen: Screen) -> bool:
    """One game by hand, a piece at a time; False where it was left by q."""
    cursor, ended = (env.config.height - 1, env.config.width // 2), False
    while not ended:
        picture = picture_of(env)
        cursor, place = nearest(picture.legal, cursor), False
        while not place:
            note = "arrows choose the cell, space places, q ends"
            screen.show(picture, cursor=cursor, ghost=target(env, cursor), note=note)
            for key in keys.read(None):
                if key == "q":
                    return False
                if key == "space":
                    place = True
                    break  # keys sent after it would act on a piece that was not seen yet
                cursor = move(picture.legal, cursor, key)
        _, _, terminated, truncated, _ = env.step(cursor[0] * env.config.width + cursor[1])
        ended = terminated or truncated
    return True


def watch(
    env: TetrisEnv,
    act: Callable[..., Any],
    obs: Any,
    keys: Keys | None,
    screen: Screen | None,
    *,
    delay: float,
    seed: int,
) -> bool:
    """One game of an agent, shown where there is a screen; False where it was left by q.

    Args:
        act: ``Player.act``. obs: of the environment's reset. keys, screen: both or none. seed: of the agent's choices.
    """
    import jax

    carry, ended, step, key = None, False, 0, jax.random.key(seed)
    while not ended:
        action, carry = act(obs, carry, is_first=step == 0, key=jax.random.fold_in(key, step))
        if screen is not None and keys is not None:
            screen.show(picture_of(env), **marks(env, action), note=f"{describe_action(env, action)}; q ends")
            if "q" in keys.read(delay):
                return False
        obs, _, terminated, truncated, _ = env.step(action)
        ended, step = terminated or truncated, step + 1
    return True


def describe_action(env: TetrisEnv, action: Any) -> str:
    """What an action does, in words."""
    from dreamjax.envs.tetris.buttons import NAMES

    if env.config.action_mode == "locked_position":
        row, column = divmod(int(action), env.config.width)
        return f"row {row}, column {column}"
    buttons = np.asarray(action) if env.config.buttons == "any" else np.arange(8) == int(action)
    return " + ".join(name for name, is_down in zip(NAMES, buttons, strict=True) if is_down) or NAMES[-1]


def marks(env: TetrisEnv, action: Any) -> dict[str, Any]:
    """What to mark on the board before an action: the cell of a placement and where it will lock."""
    if env.config.action_mode == "direct":
        return {}
    cell = divmod(int(action), env.config.width)
    return {"cursor": cell, "ghost": target(env, cell)}


def picture_of(env: TetrisEnv) -> Picture:
    """The picture of a game."""
    from dreamjax.envs.tetris.render import Picture

    return Picture.of(env.config, env.state)


def target(env: TetrisEnv, cursor: tuple[int, int]) -> np.ndarray:
    """bool[height, width]: the cells that a placement on the cursor's cell would lock."""
    import jax

    from dreamjax.envs.tetris import placement, render

    state = env.state
    cell = cursor[0] * env.config.width + cursor[1]
    decode = jax.jit(placement.decode, static_argnums=0)
    chosen = decode(env.config, state.board, state.piece, cell)
    place = (int(chosen.rotation), int(chosen.column), int(chosen.row))
    return render.placed_cells(env.config, int(state.piece), *place)


# The command.


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code. Ctrl-C leaves as q does."""

    def body() -> int:
        try:
            return _main(arguments)
        except KeyboardInterrupt:
            return cli.OK

    return cli.run(body)


def _main(arguments: Sequence[str] | None) -> int:
    parser = cli.Parser("dreamjax play", __doc__)
    parser.add_argument("--mode", choices=MODES, help="action mode of games by hand (default: direct)")
    parser.add_argument("--seed", type=int, help="seed of the pieces (default: random)")
    parser.add_argument(
        "--workdir", "--agent", type=Path, metavar="DIR", help="watch the agent of this run or of this name"
    )
    parser.add_argument("--planner", action="store_true", help="let the agent plan before every move")
    parser.add_argument("--simulations", type=int, metavar="N", help="simulations of each plan (default: the run's)")
    parser.add_argument("--games", type=int, help="number of games (default: by hand until q, watching 1)")
    parser.add_argument(
        "--delay",
        type=float,
        metavar="S",
        help=f"seconds of each step (default: {STEP_SECONDS}; watching placements {ROW_SECONDS}; 0 prints only the final "
        "boards of an agent)",
    )
    known = parser.parse_args(arguments)
    _check(known)
    config = workdir.read_config(known.workdir) if known.workdir else None
    if not (config and known.delay == 0) and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("playing needs a terminal; without one, watch an agent by --workdir=DIR --delay=0")
    seed = secrets.randbelow(2**31) if known.seed is None else known.seed
    if config:
        cli.prepare(config.parallel)
    else:
        compile_cache.enable()
    from dreamjax.envs.checks import EnvError
    from dreamjax.training.storage.checkpoint import CheckpointError

    try:
        if config:
            return _watch(known, config.env, seed)
        return _play(known.mode or "direct", known.games, known.delay or STEP_SECONDS, seed)
    except (EnvError, CheckpointError) as error:
        return cli.fail(error)


def _check(known: argparse.Namespace) -> None:
    """Raises UsageError on a value that cannot be."""
    cli.require_at_least(known, games=1, seed=0)
    if known.delay is not None and not 0 <= known.delay < 3600:
        raise UsageError(f"--delay={known.delay} is not allowed: must be 0 or more seconds, less than an hour")
    if known.workdir is None and known.delay == 0:
        raise UsageError("--delay=0 is not allowed by hand: it is for watching an agent (--workdir)")
    if known.planner and known.workdir is None:
        raise UsageError("--planner is for an agent (--workdir)")
    if known.simulations is not None and not (known.planner and known.simulations >= 1):
        raise UsageError(f"--simulations={known.simulations} is not allowed: must be 1 or more, with --planner")
    if known.workdir is not None and known.mode is not None:
        raise UsageError(f"--mode={known.mode} is not allowed with --workdir: the run has its own")


def _play(mode: str, games: int | None, delay: float, seed: int) -> int:
    """Games by hand."""
    from dreamjax.envs.tetris.gym import TetrisEnv

    print("dreamjax: Tetris in the terminal, starting ...", flush=True)
    gravity = max(1, round(ROW_SECONDS / delay))
    env = TetrisEnv(action_mode=mode, gravity_every=gravity, max_episode_length=NO_LIMIT)
    _compile(env)
    env.reset(seed=seed)
    played = 0
    with Terminal(sys.stdin.fileno()) as keys:
        while True:
            with _screen() as screen:
                play = functools.partial(play_direct, delay=delay) if mode == "direct" else play_locked
                finished = play(env, keys, screen)
                screen.show(picture_of(env), note="the game is over" if finished else "left")
            played += 1
            print(_summary(env, played, seed), flush=True)
            if not finished or played == games:
                return cli.OK
            if games is None:
                print("space plays again, q ends", flush=True)
                answer = keys.read(None)
                while not {"q", "space"} & set(answer):
                    answer = keys.read(None)
                if "q" in answer:
                    return cli.OK
            env.reset()


def _compile(env: TetrisEnv) -> None:
    """Compiles what a game calls, so that its first steps are as quick as the others."""
    env.reset(seed=0)
    picture = picture_of(env)
    if env.config.action_mode == "locked_position":
        target(env, nearest(picture.legal, (0, 0)))
    env.step(env.action_space.sample())


def _watch(known: argparse.Namespace, config: EnvConfig, seed: int) -> int:
    """Games of an agent."""
    import gymnasium

    import dreamjax

    path, games, delay = known.workdir, known.games or 1, known.delay
    from dreamjax.envs.tetris.gym import TetrisEnv

    mode: dict[str, Any] = {} if config.action_mode is None else {"action_mode": config.action_mode}
    env: Any = gymnasium.make(config.id, **config.kwargs, **mode).unwrapped
    if not isinstance(env, TetrisEnv):
        raise UsageError(f"{path} holds an agent of {config.id}: only Tetris can be watched")
    budget = {"planner": {"num_simulations": known.simulations}} if known.simulations else None
    act = Stopwatch(dreamjax.load(path, planner=known.planner, changes=budget).act)
    print(f"dreamjax: the agent of {path} {'plans and ' if known.planner else ''}plays", flush=True)
    if delay is None:
        delay = STEP_SECONDS if env.config.action_mode == "direct" else ROW_SECONDS
    with contextlib.ExitStack() as stack:
        keys = stack.enter_context(Terminal(sys.stdin.fileno())) if delay else None
        for game in range(1, games + 1):
            with _screen() if delay else contextlib.nullcontext() as screen:
                obs, _ = env.reset(seed=seed if game == 1 else None)
                finished = watch(env, act, obs, keys, screen, delay=delay, seed=seed + game)
                if screen is not None:
                    screen.show(picture_of(env), note="the game is over" if finished else "left")
            if not delay:
                print(picture_of(env).text(), end="")
            print(f"{_summary(env, game, seed)}, {1e3 * act.mean:.1f} ms a move", flush=True)
            if not finished:
                break
    return cli.OK


@contextlib.contextmanager
def _screen() -> Iterator[Screen]:
    from dreamjax.envs.tetris.render import Screen

    screen = Screen(fps=60)
    try:
        yield screen
    finally:
        screen.close()


def _summary(env: TetrisEnv, game: int, seed: int) -> str:
    state = env.state
    counts = f"{int(state.lines)} lines, {int(state.pieces)} pieces, {int(state.steps)} steps"
    return f"game {game} of seed {seed}: {counts}"
