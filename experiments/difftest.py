"""Plays Tetris side by side with tetris-gymnasium 0.3.1 and reports every difference.

    python -m experiments.difftest --steps=1000000
    python -m experiments.difftest --steps=24000 --record=tests/envs/tetris/golden/traces.npz

The package plays episodes of four kinds (uniform presses, many holds, many hard drops, and prepared stacks with a
player that completes one to four lines); the pieces it drew and the presses it got are then given to
`dreamjax.envs.tetris`, and everything must be equal after every step: the locked cells, the cells shown, the falling
piece with its orientation and place, the held piece, whether it may be exchanged, the next four pieces, the lines
cleared, the reward, and the end. The one intended difference is the reward of a step that loses the game, which the
package overwrites by 0. The second command above wrote the traces that the tests replay.

The package pins an old jax, so it goes without its dependencies into `build/difftest`, outside of the environment.
Exit code: 0 no difference, 1 a difference, 2 wrong usage.
"""

import argparse
import functools
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.envs.tetris import engine, rules
from dreamjax.envs.tetris.rules import TetrisConfig

REQUIREMENTS = ("tetris-gymnasium==0.3.1", "opencv-python-headless")
DIRECTORY = pathlib.Path("build/difftest")
KINDS = ("uniform", "hold", "drop", "prepared")
MAX_STEPS = 256
MAX_PIECES = 512
BATCH = 64
FIELDS = ("board", "shown", "piece", "x", "y", "hold", "hold_used", "queue", "lines", "terminated", "reward")

BUTTON = np.array([0, 1, 2, 4, 3, 5, 6, 7])
"""Our button for each of the package's actions: its names of the rotations are swapped."""

HOLD, HARD_DROP, CLOCKWISE_BY_NAME = 6, 5, 3

Episode = dict[str, np.ndarray]
"""One episode: `kind`, `start` uint32[10], `pieces` int8[n], `action` uint8[T], and each of FIELDS with T rows."""


def load_package(directory: pathlib.Path = DIRECTORY) -> Any:
    """The package's class `Tetris`; installs the package into `directory` if it is not there."""
    if not (directory / "tetris_gymnasium").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(directory)]
        subprocess.run([*command, *REQUIREMENTS], check=True)
    if str(directory) not in sys.path:
        sys.path.append(str(directory))
    from tetris_gymnasium.envs.tetris import Tetris

    return Tetris


# --- The package's side ---


def _columns(cells: np.ndarray) -> list[int]:
    """Bit columns of a matrix of cells, bit = row."""
    return [int(sum(1 << y for y in np.flatnonzero(column))) for column in (cells > 0).T]


def _word(matrix: np.ndarray) -> int:
    """A piece's matrix as one number, four bits a column."""
    return sum(bits << 4 * i for i, bits in enumerate(_columns(matrix)))


def _prepared_stack(rng: np.random.Generator) -> np.ndarray:
    """A stack (20, 10) of nearly full rows with a gap of one to four columns."""
    board = np.zeros((20, 10), np.uint8)
    height, width = int(rng.integers(1, 13)), int(rng.choice([1, 1, 1, 2, 3, 4]))
    left = int(rng.integers(0, 11 - width))
    board[20 - height :] = rng.integers(2, 9, (height, 10))
    board[20 - height :, left : left + width] = 0
    if rng.random() < 0.5:  # Some rows are not nearly full.
        board[20 - height :][rng.random((height, 10)) < 0.04] = 0
    return board


def _plan(env: Any) -> tuple[int, int]:
    """Rotation and column (of the package's matrix corner) that complete most lines, then rest lowest."""
    board = _columns(env.board[:20, 4:14])
    best, choice = (-1, -1), (0, env.x)
    for rotation in range(4):
        shape = _columns(np.rot90(env.active_tetromino.matrix, k=rotation))
        for x in range(-2, 10):
            used = [(x + i, bits) for i, bits in enumerate(shape) if bits]
            if any(not 0 <= column < 10 for column, _ in used):
                continue
            y = env.y
            while all(not (bits << y + 1) & (board[column] | 1 << 20) for column, bits in used):
                y += 1
            filled = list(board)
            for column, bits in used:
                filled[column] |= bits << y
            full = functools.reduce(int.__and__, filled).bit_count()
            if (full, y) > best:
                best, choice = (full, y), (rotation, x + 4)
    return choice


class _Player:
    """Chooses presses by the kind of the episode."""

    def __init__(self, kind: str, rng: np.random.Generator) -> None:
        weights = {"hold": [1, 1, 1, 1, 1, 1, 8, 1], "drop": [3, 3, 1, 2, 2, 6, 1, 1]}.get(kind, [1] * 8)
        self._weights = np.array(weights) / np.sum(weights)
        self._kind, self._rng = kind, rng
        self._turns = 0
        self._column: int | None = None

    def __call__(self, env: Any, is_new_piece: bool) -> int:
        if self._kind != "prepared" or self._rng.random() < 0.1:
            return int(self._rng.choice(8, p=self._weights))
        if is_new_piece or self._column is None:
            self._turns, self._column = _plan(env)
        if self._turns:
            self._turns -= 1
            return CLOCKWISE_BY_NAME
        if env.x != self._column and self._rng.random() < 0.95:
            return 0 if env.x > self._column else 1
        return HARD_DROP


def play_package(env: Any, kind: str, rng: np.random.Generator) -> Episode:
    """One episode of the package, recorded."""
    drawn: list[int] = []
    draw = type(env.queue.randomizer).get_next_tetromino

    def logged_draw() -> int:
        drawn.append(int(draw(env.queue.randomizer)))
        return drawn[-1]

    env.queue.randomizer.get_next_tetromino = logged_draw
    env.reset(seed=int(rng.integers(1, 2**31)))
    start = np.zeros((20, 10), np.uint8)
    if kind == "prepared":
        start = _prepared_stack(rng)
        env.board[:20, 4:14] = start
        if rng.random() < 0.7:  # The first five pieces are mostly I, J and L, which complete several rows.
            drawn[:5] = [int(piece) for piece in rng.choice([0, 0, 0, 5, 6, 2], 5)]
            env.active_tetromino = env.tetrominoes[drawn[0]]
            env.reset_tetromino_position()
            env.queue.queue.extend(drawn[1:5])
    player = _Player(kind, rng)
    actions, rows = [], []
    is_new_piece = True
    for _ in range(64 if kind == "prepared" else MAX_STEPS):
        action = player(env, is_new_piece)
        actions.append(action)
        before = env.board.copy()
        observed, reward, terminated, _, info = env.step(action)
        is_new_piece = action == HOLD or not np.array_equal(before, env.board)
        active, held = env.active_tetromino, env.holder.get_tetrominoes()
        rows.append(
            (
                _columns(env.board[:20, 4:14]),
                _columns(observed["board"][:20, 4:14]),
                _word(active.matrix),
                env.x - 4,
                env.y,
                _word(held[0].matrix) if held else 0,
                env.has_swapped,
                list(env.queue.get_queue()),
                int(info["lines_cleared"]),
                bool(terminated),
                float(reward),
            )
        )
        if terminated:
            break
    dtypes = ("uint32", "uint32", "uint16", "int8", "int8", "uint16", "bool", "int8", "int8", "bool", "int16")
    columns = zip(FIELDS, zip(*rows, strict=True), dtypes, strict=True)
    return {
        "kind": np.array(KINDS.index(kind), np.int8),
        "start": np.array(_columns(start), np.uint32),
        "pieces": np.array(drawn, np.int8),
        "action": np.array(actions, np.uint8),
        **{name: np.array(values, dtype) for name, values, dtype in columns},
    }


def episodes(seed: int, num_steps: int, directory: pathlib.Path = DIRECTORY) -> Iterator[Episode]:
    """Episodes of the package, kind after kind, until they hold `num_steps` steps."""
    env = load_package(directory)()
    rng = np.random.default_rng(seed)
    steps = [0] * len(KINDS)
    while sum(steps) < num_steps:
        kind = int(np.argmin(steps))
        episode = play_package(env, KINDS[kind], rng)
        steps[kind] += len(episode["action"])
        yield episode


# --- Our side ---

CONFIG = TetrisConfig(reward="gymnasium", preview=4, max_episode_length=2**30)


@jax.jit
def _play(start: jax.Array, pieces: jax.Array, num_pieces: jax.Array, actions: jax.Array) -> dict[str, jax.Array]:
    """Plays a batch of recorded presses; every array has a leading axis of episodes, then of steps."""

    def word(piece: jax.Array, rotation: jax.Array) -> jax.Array:
        cells = jnp.asarray(rules.CELLS)[piece, rotation]
        return jnp.sum(cells << jnp.arange(0, 16, 4, dtype=jnp.uint32), dtype=jnp.uint32)

    def one(start: jax.Array, pieces: jax.Array, number: jax.Array, actions: jax.Array) -> dict[str, jax.Array]:
        state = engine.reset(CONFIG, jnp.zeros((2,), jnp.uint32), pieces, num_pieces=number)

        def advance(state: rules.TetrisState, action: jax.Array) -> tuple[rules.TetrisState, dict[str, jax.Array]]:
            buttons = jnp.arange(8) == jnp.asarray(BUTTON)[action]
            state, output = engine.step(CONFIG, state, buttons)
            shown = jnp.max(engine.observe(CONFIG, state)["board"], axis=0)
            held = jnp.minimum(state.hold, 6)
            return state, {
                "board": state.board,
                "shown": rules.board_words(CONFIG, shown),
                "piece": word(state.piece, state.rotation),
                "x": state.x,
                "y": state.y,
                "hold": jnp.where(state.hold == rules.NO_PIECE, 0, word(held, state.hold_rotation)),
                "hold_used": state.hold_used,
                "queue": jnp.stack([rules.peek(state, i) for i in range(4)]),
                "lines": output.lines_cleared,
                "terminated": output.terminated,
                "reward": output.reward,
            }

        return jax.lax.scan(advance, engine.with_board(CONFIG, state, start), actions)[1]

    return jax.vmap(one)(start, pieces, num_pieces, actions)


def differences(batch: list[Episode]) -> list[str]:
    """Plays recorded episodes with our rules; one line for each episode that differs, at its first different step."""
    size = -(-len(batch) // BATCH) * BATCH
    start = np.zeros((size, 10), np.uint32)
    pieces, number = np.zeros((size, MAX_PIECES), np.int8), np.ones((size,), np.int32)
    actions = np.full((size, MAX_STEPS), 7, np.uint8)
    for i, episode in enumerate(batch):
        start[i] = episode["start"]
        number[i] = len(episode["pieces"])
        pieces[i, : number[i]] = episode["pieces"]
        actions[i, : len(episode["action"])] = episode["action"]
    lines = []
    for low in range(0, size, BATCH):
        rows = slice(low, low + BATCH)
        ours = jax.device_get(_play(start[rows], pieces[rows], number[rows], actions[rows]))
        for i, episode in enumerate(batch[rows]):
            length = len(episode["action"])
            for t in range(length) if not _equal(ours, episode, i, slice(0, length)) else ():
                names = [name for name in FIELDS if not _equal(ours, episode, i, slice(t, t + 1), name)]
                if names:
                    text = "; ".join(f"{n}: {episode[n][t]} there, {ours[n][i, t]} here" for n in names)
                    kind, action = KINDS[int(episode["kind"])], episode["action"][t]
                    lines.append(f"episode {low + i} ({kind}), step {t}, action {action}: {text}")
                    break
    return lines


def _equal(ours: dict[str, np.ndarray], episode: Episode, i: int, steps: slice, name: str | None = None) -> bool:
    if name is None:
        return all(_equal(ours, episode, i, steps, one) for one in FIELDS)
    there, here = episode[name][steps], ours[name][i, steps]
    if name == "reward":  # Overwritten by 0 there when the game is lost.
        here = np.where(episode["terminated"][steps], there, here)
    return np.array_equal(there, here)


# --- Recorded traces ---


def save(path: pathlib.Path, recorded: list[Episode]) -> None:
    """Writes episodes compactly: joined, and boards as differences from the step before."""
    arrays = {
        "num_steps": np.array([len(e["action"]) for e in recorded], np.int32),
        "num_pieces": np.array([len(e["pieces"]) for e in recorded], np.int32),
        "kind": np.array([e["kind"] for e in recorded]),
        "start": np.stack([e["start"] for e in recorded]),
    }
    for name in ("pieces", "action", *FIELDS):
        arrays[name] = np.concatenate([e[name] for e in recorded])
    arrays["shown"] ^= arrays["board"]
    arrays["board"][1:] ^= arrays["board"][:-1].copy()
    # One column after the other compresses better than one step after the other.
    for name in ("board", "shown", "queue"):
        arrays[name] = np.ascontiguousarray(arrays[name].T)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def load(path: pathlib.Path) -> list[Episode]:
    """The episodes that `save` wrote."""
    with np.load(path) as file:
        arrays = dict(file)
    for name in ("board", "shown", "queue"):
        arrays[name] = arrays[name].T
    arrays["board"] = np.bitwise_xor.accumulate(arrays["board"], axis=0)
    arrays["shown"] = arrays["shown"] ^ arrays["board"]
    steps, pieces = (np.cumsum([0, *arrays[name]]) for name in ("num_steps", "num_pieces"))
    recorded = []
    for i in range(len(arrays["kind"])):
        episode = {"kind": arrays["kind"][i], "start": arrays["start"][i]}
        episode["pieces"] = arrays["pieces"][pieces[i] : pieces[i + 1]]
        for name in ("action", *FIELDS):
            episode[name] = arrays[name][steps[i] : steps[i + 1]]
        recorded.append(episode)
    return recorded


def summary(recorded: list[Episode]) -> dict[str, int]:
    """Counts of what episodes contain: steps, holds, locks that clear n lines, lost games."""
    counts = {"episodes": len(recorded), "steps": sum(len(e["action"]) for e in recorded)}
    counts["holds"] = sum(int(np.sum(np.diff(e["hold_used"], prepend=False) & e["hold_used"])) for e in recorded)
    for n in range(1, 5):
        counts[f"clears of {n}"] = sum(int(np.sum(e["lines"] == n)) for e in recorded)
    counts["lost games"] = sum(bool(e["terminated"][-1]) for e in recorded)
    return counts


def main(argv: list[str] | None = None) -> int:
    """Plays and compares; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.difftest", description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=1_000_000, help="steps to play (1000000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the presses and pieces (1)")
    parser.add_argument("--record", type=pathlib.Path, help="also write the episodes to this file (.npz)")
    parser.add_argument(
        "--directory", type=pathlib.Path, default=DIRECTORY, help=f"where the package goes ({DIRECTORY})"
    )
    options = parser.parse_args(argv)
    if options.steps < 1:
        parser.error(f"--steps={options.steps}: must be at least 1")
    began = time.monotonic()
    total: dict[str, int] = {}
    found: list[str] = []
    kept: list[Episode] = []
    batch: list[Episode] = []

    def check() -> None:
        found.extend(differences(batch))
        for name, count in summary(batch).items():
            total[name] = total.get(name, 0) + count
        if options.record:
            kept.extend(batch)
        batch.clear()
        seconds = time.monotonic() - began
        print(f"\r{total['steps']:,} steps, {len(found)} episodes differ, {seconds:.0f} s", end="", flush=True)

    for episode in episodes(options.seed, options.steps, options.directory):
        batch.append(episode)
        if len(batch) == BATCH:
            check()
    if batch:
        check()
    print()
    print("\n".join(found[:20]))
    print(", ".join(f"{count:,} {name}" for name, count in total.items()))
    if options.record:
        save(options.record, kept)
        print(f"wrote {options.record}: {options.record.stat().st_size:,} bytes")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
