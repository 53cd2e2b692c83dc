"""Results of runs: their form, means over seeds, the picture; and the command that makes them."""

import importlib.util
import json
import math
import subprocess
import sys

import numpy as np
import pytest

from dreamjax.configs.tetris_locked import REWARDS
from dreamjax.training.storage import workdir
from dreamjax.training.storage.workdir import UsageError
from experiments.baselines import compare, curves, heuristics
from tests.helpers import ROOT
from tests.helpers.configs import make_tiny_config


def result(*points, agent="ppo", seed=0, env="dreamjax/Tetris-v0/direct", reward="lines", **more):
    """A result with ``points`` (step, mean, stderr)."""
    curve = [{"step": step, "lines": {"mean": mean, "stderr": stderr, "episodes": 9}} for step, mean, stderr in points]
    entries = {"agent": agent, "env": env, "reward": reward, "seed": seed, "curve": curve}
    return entries | {"command": "x", "hardware": "y", "wall_s": 1.0} | more


def test_summary_by_hand():
    # Deviations -2 -1 3: variance 14 / 2, standard error sqrt(7 / 3).
    found = curves.summary(np.array([1, 2, 6]))
    assert found == {"mean": 3.0, "stderr": pytest.approx(math.sqrt(7 / 3)), "episodes": [1, 2, 6]}
    assert curves.summary([4]) == {"mean": 4.0, "stderr": 0.0, "episodes": [4]}
    json.dumps(found)


def test_mean_over_seeds_by_hand():
    runs = [
        result((10, 1.0, 9.0), (20, 2.0, 9.0), seed=0),
        result((10, 2.0, 9.0), (20, 4.0, 9.0), seed=1),
        result((10, 6.0, 9.0), (40, 5.0, 0.5), seed=2),
    ]
    ten, twenty, forty = curves.mean_curve(runs)
    assert ten == (10, 3.0, pytest.approx(math.sqrt(7 / 3)), 3)
    assert twenty == (20, 3.0, pytest.approx(1.0), 2)  # deviations -1 and 1: sqrt(2) / sqrt(2)
    assert forty == (40, 5.0, 0.5, 1)  # one run: the error over its games


def test_groups_keep_the_run_of_a_seed_that_goes_further():
    short, long = result((10, 1.0, 0.0)), result((10, 1.0, 0.0), (20, 2.0, 0.0))
    other = result((10, 3.0, 0.0), reward="shaped")
    for order in ([short, long, other], [other, long, short]):
        assert curves.grouped(order) == {
            ("dreamjax/Tetris-v0/direct", "lines"): {"ppo": [long]},
            ("dreamjax/Tetris-v0/direct", "shaped"): {"ppo": [other]},
        }


def test_results_are_read_as_they_were_written(tmp_path):
    written = result((10, 1.5, 0.25), (20, 2.0, 0.5), settings={"learning_rate": 1e-3})
    path = tmp_path / "new" / "a.json"
    curves.write_result(path, written)
    assert curves.read_result(path) == written
    assert len(path.read_text().splitlines()) == 2 + 8 + 1 + 2 + 1  # an entry a line, a point a line
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]


def test_files_of_results_have_plain_names():
    settings = result((10, 1.0, 0.0), agent="ppo batch_size=500,binary_bias=(0,-2.5)")
    assert curves.file_name(settings) == "direct_lines_ppo_batch_size_500_binary_bias_0_-2.5_0.json"
    for path in compare.RESULTS.glob("*.json"):
        assert path.name == curves.file_name(json.loads(path.read_text()))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ([1], "a result is an object"),
        (result((10, 1.0, 0.0), seed="0"), "seed='0' is not allowed"),
        ({name: value for name, value in result((10, 1.0, 0.0)).items() if name != "command"}, "command=None"),
        (result(), "there must be one"),
        (result((10, 1.0, 0.0), (10, 2.0, 0.0)), "must rise"),
        (result((20, 1.0, 0.0), (10, 2.0, 0.0)), "must rise"),
        (result((10, float("nan"), 0.0)), "step 10: not finite"),
        (result() | {"curve": [{"step": 10}]}, "is no point of a curve"),
        (result() | {"curve": [7]}, "7 is no point of a curve"),
    ],
)
def test_results_of_another_form_are_refused(broken, message, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(broken))
    with pytest.raises(UsageError, match=message):
        curves.read_result(tmp_path / "a.json")


def run_of_dreamer(path, lines, **env):
    path.mkdir()
    env = {"id": "dreamjax/Tetris-v0", "action_mode": "locked_position"} | env
    workdir.write_config(path, make_tiny_config(seed=7, env=env))
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_runs_of_dreamer_are_read_from_their_work_directory(tmp_path):
    evaluated = {"eval/lines_mean": 1.5, "eval/lines_stderr": 0.5}
    path = run_of_dreamer(
        tmp_path / "run",
        [
            {"step": 10, "wall_time": 3.0, "train/world_model_loss": 1.0},
            {"step": 20, "wall_time": 4.0} | evaluated,
            {"step": 40, "wall_time": 9.0, "eval/lines_mean": 2.5, "eval/lines_stderr": 0.25},
        ],
        kwargs={"reward": "lines", "piece_reward": 0.1},
    )
    found = curves.read_result(path)
    assert (found["agent"], found["seed"], found["wall_s"]) == ("dreamer (rssm)", 7, 9.0)
    assert (found["env"], found["reward"]) == ("dreamjax/Tetris-v0/locked_position", "lines")
    assert [(point["step"], point["lines"]["mean"], point["lines"]["stderr"]) for point in found["curve"]] == [
        (20, 1.5, 0.5),
        (40, 2.5, 0.25),
    ]
    assert found["curve"][0]["lines"]["episodes"] == 2  # games of an evaluation, by the configuration
    with pytest.raises(UsageError, match="no evaluation of lines yet"):
        curves.read_result(run_of_dreamer(tmp_path / "young", [{"step": 10, "wall_time": 3.0}]))
    with pytest.raises(UsageError, match="holds no run"):
        curves.read_result(tmp_path)


def test_rewards_go_by_their_names():
    assert curves.reward_name({"piece_reward": 0.1, "width": 10}) == "lines"
    assert curves.reward_name(REWARDS["shaped"] | {"height": 20}) == "shaped"
    other = {"piece_reward": 0.1, "shaping": "potential", "shaping_holes": 1}
    assert curves.reward_name(other) == "piece_reward=0.1 reward=lines shaping=potential shaping_holes=1"


def test_the_picture_shows_the_curves(tmp_path):
    from matplotlib.image import imread

    pictures = []
    for factor in (1.0, 20.0):
        group = {
            "ppo": [result((10_000, factor, 0.1), (100_000, 3 * factor, 0.2), seed=seed) for seed in (0, 1)],
            "heuristic": [result((0, 398.0, 0.1), agent="heuristic")],
        }
        curves.draw(group, tmp_path / "curve.png", "title")
        pictures.append(imread(tmp_path / "curve.png"))
    assert pictures[0].shape == pictures[1].shape and pictures[0].std() > 0.05
    assert (pictures[0] != pictures[1]).any()
    assert curves.table(group).splitlines() == [
        "ppo                 10,000 steps      20.00 ± 0.00    2 seeds",
        "ppo                100,000 steps      60.00 ± 0.00    2 seeds",
        "heuristic        no learning         398.00 ± 0.10    1 seed",
    ]


def test_checkpoints_are_1_2_5_and_the_end():
    assert compare.checkpoints(1_000_000) == [10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000]
    assert compare.checkpoints(300_000) == [10_000, 20_000, 50_000, 100_000, 200_000, 300_000]
    assert compare.checkpoints(5_000) == [5_000]


def test_settings_are_read_as_python_writes_them():
    assert compare.parse_settings("learning_rate=1e-3,binary_bias=(0,-2.5)") == {
        "learning_rate": 1e-3,
        "binary_bias": (0, -2.5),
    }
    assert compare.parse_settings("") == {}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "nothing to do: give --agents, --plot or both"),
        (["--agents=pppo"], "--agents=pppo is not allowed: must be one of ppo, dqn, random, heuristic, greedy"),
        (["--agents=random", "--mode=both"], "--mode"),
        (["--agents=random", "--reward=fame"], "--reward"),
        (["--agents=random", "--steps=0"], "--steps=0 is not allowed: must be a whole number from 1"),
        (["--agents=random", "--steps=1.5"], "--steps=1.5 is not allowed"),
        (["--agents=random", "--seeds=0,x"], "--seeds=x is not allowed: must be a whole number from 0"),
        (["--agents=random", "--episodes=1"], "--episodes=1 is not allowed: must be 2 or more"),
        (["--agents=random", "--settings=units=8"], "--settings is of ppo and dqn"),
        (["--agents=ppo", "--settings=units"], "--settings=units is not allowed: must be NAME=NUMBER"),
        (["--agents=ppo", "--settings=units=open"], "--settings=units=open is not allowed"),
        (["--agents=random", "--runs=a"], "--runs is of --plot"),
        (["--plot", "--keep"], "--keep is of --runs"),
        (["--plot", "--runs=no/such.json"], "no/such.json cannot be read"),
        (["--plot"], "holds no results"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_wrong_usage(arguments, expected, tmp_path, capsys):
    assert compare.main([*arguments, f"--results={tmp_path / 'results'}"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and expected in error and "\n" not in error
    assert not list(tmp_path.iterdir())


def test_without_the_extra_one_line_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sb3_contrib" else found(name))
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    assert compare.main(["--agents=random,ppo", f"--results={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert "which ppo and dqn need: pip install -e '.[baselines]'" in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_arguments_are_checked_without_jax_and_torch():
    code = (
        "import sys; from experiments.baselines import compare; assert compare.main(['--agents=none']) == 2;"
        "assert not {'jax', 'torch', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_players_are_run_once_written_and_drawn(tmp_path, capsys, monkeypatch):
    played = []

    def play(name, *, episodes, seed, fields):
        played.append((name, episodes, seed))
        assert fields == {
            "action_mode": "direct",
            "max_episode_length": 1000,
            "reward": "lines",
            "piece_reward": 0.1,
        }
        return np.arange(episodes) + 10 * seed, np.full(episodes, 5)

    monkeypatch.setattr(heuristics, "play", play)
    arguments = ["--agents=random,heuristic", "--mode=direct", "--seeds=0,1", "--episodes=3", f"--results={tmp_path}"]
    assert compare.main(arguments) == 0
    assert played == [("random", 3, 0), ("random", 3, 1), ("heuristic", 3, 0), ("heuristic", 3, 1)]
    found = curves.read_result(tmp_path / "direct_lines_random_1.json")
    assert found["curve"][0]["lines"]["episodes"] == [10, 11, 12]
    assert found["curve"][0]["pieces"] == {"mean": 5.0, "stderr": 0.0}
    assert found["command"] == (
        "python -m experiments.compare --agents=random --mode=direct --reward=lines --seeds=1 --episodes=3"
    )
    assert compare.main([*arguments, "--plot"]) == 0
    assert len(played) == 4  # they were there already
    assert "random           no learning           6.00 ± 5.00    2 seeds" in capsys.readouterr().out
    assert (tmp_path / "direct_lines.png").read_bytes().startswith(b"\x89PNG")


def test_runs_of_dreamer_can_be_kept_beside_the_others(tmp_path, capsys):
    evaluated = {"step": 20, "wall_time": 4.0, "eval/lines_mean": 1.5, "eval/lines_stderr": 0.5}
    run = run_of_dreamer(tmp_path / "run", [evaluated], kwargs=REWARDS["shaped"])
    results = tmp_path / "results"
    assert compare.main([f"--results={results}", "--plot", f"--runs={run}"]) == 0
    assert [file.name for file in results.iterdir()] == ["locked_position_shaped.png"]
    assert compare.main([f"--results={results}", "--plot", f"--runs={run}", "--keep"]) == 0
    kept = curves.read_result(results / "locked_position_shaped_dreamer_rssm_7.json")
    assert kept == curves.read_run(run) and kept["settings"]["seed"] == 7
    assert compare.main([f"--results={results}", "--plot"]) == 0
    assert capsys.readouterr().out.count("dreamer (rssm)          20 steps       1.50 ± 0.50") == 3


def test_committed_results_have_the_form():
    files = sorted((ROOT / "experiments" / "results").glob("*.json"))
    assert files
    for file in files:
        curves.read_result(file)
