"""Playing in the terminal: what keys mean, where the cursor may go, and that the terminal is given back."""

from __future__ import annotations

import os
import pty
import signal
import termios
import types

import gymnasium
import numpy as np
import pytest

from dreamjax.commands import cli, play
from dreamjax.commands.keyboard import Terminal, landing, move, nearest, pressed, split_keys
from dreamjax.envs.tetris.buttons import NAMES
from dreamjax.envs.tetris.gym import TetrisEnv
from dreamjax.training.storage import workdir

PIECES = [1, 0, 2, 3]


class Script:
    """Keys that are pressed one read after the other, then q."""

    def __init__(self, *reads):
        self.reads = list(reads)

    def read(self, seconds):
        return self.reads.pop(0) if self.reads else ["q"]


class Shown:
    """Remembers what a screen was asked to show."""

    def __init__(self):
        self.pictures = []

    def show(self, picture, **marks):
        self.pictures.append((picture, marks))


def make(mode, **fields):
    env = TetrisEnv(action_mode=mode, **fields)
    env.reset(seed=0, options={"pieces": PIECES})
    return env


@pytest.mark.parametrize(
    ("sent", "keys", "rest"),
    [
        ("", [], ""),
        ("q", ["q"], ""),
        ("\x1b[A\x1b[B\x1b[C\x1b[D", ["up", "down", "right", "left"], ""),
        ("\x1bOA z", ["up", "space", "z"], ""),
        ("aDsW", ["left", "right", "down", "up"], ""),
        ("x\x1b[", ["x"], "\x1b["),  # the rest of an arrow is still on its way
        ("x\x1b", ["x"], "\x1b"),
        ("\x1bq", ["q"], ""),
        ("\x1b[1;5C", ["right"], ""),  # with Ctrl held
        ("\x1b[3~c", ["c"], ""),  # Delete means nothing
        ("\r", ["space"], ""),
    ],
)
def test_what_a_terminal_sends_as_keys(sent, keys, rest):
    assert split_keys(sent) == (keys, rest)


def test_an_arrow_sent_in_two_parts_is_one_key():
    keys, rest = split_keys("z\x1b")
    assert keys == ["z"] and split_keys(rest + "[D")[0] == ["left"]


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ([], set()),
        (["left"], {"left"}),
        (["left", "x", "down"], {"left", "rotate_clockwise", "soft_drop"}),
        (["up", "x"], {"rotate_clockwise"}),
        (["z", "space", "c"], {"rotate_counterclockwise", "hard_drop", "hold"}),
        (["right", "k", "5"], {"right"}),
    ],
)
def test_keys_of_one_step_are_pressed_together(keys, names):
    action = pressed(keys)
    assert gymnasium.spaces.MultiBinary(8).contains(action)
    assert {name for name, is_down in zip(NAMES, action, strict=True) if is_down} == names


def test_the_nearest_cell_is_the_one_the_rules_choose():
    env = make("locked_position")
    legal = env.reset()[1]["action_mask"].reshape(20, 10)
    for cell in [(0, 0), (5, 9), (19, 9), (12, 3)]:
        copy = make("locked_position")
        copy.set_state(env.get_state())
        env_state = env.get_state()
        copy.step(cell[0] * 10 + cell[1])
        row, column = nearest(legal, cell)
        assert legal[row, column]
        env.step(row * 10 + column)
        np.testing.assert_array_equal(env.get_state()["board"], copy.get_state()["board"])
        env.set_state(env_state)


def test_a_cursor_reaches_every_legal_cell_and_no_other():
    rng = np.random.default_rng(0)
    for _ in range(20):
        legal = rng.random((20, 10)) < 0.1
        legal[7, 4] = True
        reached, border = set(), [(7, 4)]
        while border:
            cursor = border.pop()
            reached.add(cursor)
            border += {move(legal, cursor, key) for key in ("left", "right", "up", "down")} - reached
        assert reached == set(zip(*map(np.ndarray.tolist, np.nonzero(legal)), strict=True))


def test_a_cursor_goes_to_the_nearest_row_of_the_next_column():
    legal = np.zeros((6, 6), bool)
    legal[[1, 4, 3, 0], [1, 1, 3, 5]] = True
    assert move(legal, (3, 3), "left") == (4, 1)
    assert move(legal, (3, 3), "right") == (0, 5)
    assert move(legal, (4, 1), "up") == (1, 1)
    for key in ("left", "down", "space", "k"):
        assert move(legal, (4, 1), key) == (4, 1)


def test_a_ghost_rests_on_the_stack_or_the_floor():
    cells = np.zeros((6, 4), np.uint8)
    cells[0, :2], cells[4:, 0] = 3, 1
    assert np.argwhere(landing(cells)).tolist() == [[3, 0], [3, 1]]
    cells[4:, 0] = 0
    assert np.argwhere(landing(cells)).tolist() == [[5, 0], [5, 1]]
    assert not landing(np.ones((6, 4), np.uint8)).any()


def test_the_ghost_in_direct_is_where_a_hard_drop_locks():
    env = make("direct")
    for keys in (["left", "up"], ["right"], ["down", "z"]):
        env.step(pressed(keys))
        before = play.picture_of(env).cells == 1
        ghost = landing(play.picture_of(env).cells)
        env.step(pressed(["space"]))
        np.testing.assert_array_equal((play.picture_of(env).cells == 1) & ~before, ghost)


def test_a_game_by_hand_in_direct():
    env, shown = make("direct"), Shown()
    keys = Script(["left"], ["space"], ["p"], ["k"], ["space"])
    assert not play.play_direct(env, keys, shown, delay=0.1)  # left by q
    assert int(env.state.pieces) == 2 and int(env.state.steps) == 4  # what unpaused was a step as well
    assert any("paused" in marks["note"] for _, marks in shown.pictures)


def test_a_game_by_hand_in_direct_ends():
    env = make("direct")
    assert play.play_direct(env, Script(*[["space"]] * 40), Shown(), delay=0.1)
    assert bool(env.state.terminated)


def test_a_game_by_hand_of_placements():
    env, shown = make("locked_position"), Shown()
    assert not play.play_locked(env, Script(["left"] * 9, ["space", "right"], ["down", "up"], ["space"]), shown)
    assert int(env.state.pieces) == 2
    for picture, marks in shown.pictures:
        assert picture.legal[marks["cursor"]] and marks["ghost"].sum() == 4
    # The first piece, an O, went into the corner that its ghost showed before it was placed.
    assert np.argwhere(shown.pictures[1][1]["ghost"]).tolist() == [[18, 0], [18, 1], [19, 0], [19, 1]]
    np.testing.assert_array_equal(shown.pictures[2][0].cells == 1, shown.pictures[1][1]["ghost"])


def test_a_game_of_placements_ends():
    env = make("locked_position")
    assert play.play_locked(env, Script(*[["space"]] * 200), Shown())
    assert bool(env.state.terminated)


def make_player(env):
    """An agent of random actions."""

    def act(obs, carry, *, is_first, key):
        assert env.observation_space.contains(obs) and (carry is None) == is_first
        mask = obs.get("action_mask")
        return env.action_space.sample(*[] if mask is None else [mask]), 0

    return types.SimpleNamespace(act=act)


@pytest.mark.parametrize("mode", play.MODES)
def test_an_agent_is_watched_until_its_game_ends_or_q(mode):
    env, shown = make(mode, max_episode_length=6), Shown()
    watch = lambda *screen, seed: play.watch(
        env, make_player(env).act, env.reset(seed=seed)[0], *screen, delay=0, seed=0
    )
    assert watch(Script(*[[]] * 50), shown, seed=1)
    assert len(shown.pictures) == int(env.state.steps) and all(marks["note"] for _, marks in shown.pictures)
    assert not watch(Script([]), shown, seed=1)
    assert watch(None, None, seed=1)


def test_actions_in_words():
    env = make("direct")
    assert play.describe_action(env, pressed(["left", "c"])) == "left + hold"
    assert play.describe_action(env, pressed([])) == "nothing"
    assert play.describe_action(make("direct", buttons="one"), 5) == "hard_drop"
    assert play.describe_action(make("locked_position"), 123) == "row 12, column 3"


@pytest.mark.parametrize("leave", ["return", "error", "signal"])
def test_a_terminal_is_given_back(leave):
    main, terminal = pty.openpty()
    before, handler = termios.tcgetattr(terminal), signal.getsignal(signal.SIGTERM)
    try:
        with Terminal(terminal) as keys:
            assert termios.tcgetattr(terminal) != before
            os.write(main, b"z \x1b[")
            assert keys.read(0.01) == ["z", "space"]
            os.write(main, b"D")
            assert keys.read(None) == ["left"]
            if leave == "error":
                raise KeyError
            if leave == "signal":
                os.kill(os.getpid(), signal.SIGTERM)
    except (KeyError, SystemExit) as error:
        assert leave == ("error" if isinstance(error, KeyError) else "signal")
    assert termios.tcgetattr(terminal) == before
    assert signal.getsignal(signal.SIGTERM) == handler
    os.close(terminal)
    os.close(main)


def test_a_terminal_that_is_gone_leaves_the_game():
    ours, theirs = os.pipe()
    os.close(theirs)
    terminal = Terminal(ours)
    assert terminal.read(None) == ["q"]
    os.close(ours)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "needs a terminal"),
        (["--mode=locked_position", "--seed=1"], "needs a terminal"),
        (["--mode=other"], "--mode"),
        (["--games=0"], "--games=0 is not allowed"),
        (["--seed=-1"], "--seed=-1 is not allowed"),
        (["--delay=-1"], "--delay=-1.0 is not allowed"),
        (["--delay=nan"], "--delay=nan is not allowed"),
        (["--delay=0"], "--delay=0 is not allowed by hand"),
        (["--workdir=nowhere", "--mode=direct"], "not allowed with --workdir"),
        (["--workdir=nowhere"], "holds no run"),
    ],
)
def test_wrong_usage_is_one_message(arguments, told, capsys):
    assert play.main(arguments) == cli.USAGE
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def make_run(path, env):
    path.mkdir()
    workdir.write_config(path, cli.load_config("experiments/cartpole.py:smoke", env))
    return f"--workdir={path}"


def test_watching_without_a_terminal_prints_final_boards(tmp_path, capsys, monkeypatch):
    run = make_run(tmp_path / "run", {"env.id": "dreamjax/Tetris-v0", "env.kwargs.max_episode_length": "8"})
    assert play.main([run]) == cli.USAGE and "needs a terminal" in capsys.readouterr().err
    player = make_player(TetrisEnv(max_episode_length=8))
    asked = []
    monkeypatch.setattr("dreamjax.load", lambda path, **how: asked.append(how) or player)
    assert play.main([run, "--delay=0", "--games=2", "--seed=5", "--planner", "--simulations=9"]) == cli.OK
    assert asked == [{"planner": True, "changes": {"planner": {"num_simulations": 9}}}]
    printed = capsys.readouterr().out
    assert "plans and plays" in printed and printed.count(" ms a move") == 2
    assert printed.count("+----------+") == 2
    assert "game 2 of seed 5: 0 lines" in printed and "8 steps" in printed


def test_only_tetris_is_watched(tmp_path, capsys):
    assert play.main([make_run(tmp_path / "run", {}), "--delay=0"]) == cli.USAGE
    assert "CartPole-v1: only Tetris" in capsys.readouterr().err
