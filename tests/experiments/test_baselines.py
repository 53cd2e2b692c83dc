"""The games that model-free agents see, and the agents themselves where stable-baselines3 is installed."""

import functools

import numpy as np
import pytest

from dreamjax.envs.tetris import TetrisVectorEnv, buttons
from dreamjax.seeds import EVALUATION
from experiments.baselines import games

# So small and short that most steps end a game, by loss and by time.
PLACED = {"action_mode": "locked_position", "width": 4, "height": 6, "max_episode_length": 3, "piece_reward": 0.25}
DIRECT = {"action_mode": "direct", "width": 4, "height": 5, "max_episode_length": 3, "piece_reward": 0.25}


def random_actions(rng, mask, direct):
    if direct:
        return rng.integers(0, 2, mask.shape)
    return np.array([rng.choice(np.flatnonzero(row)) for row in mask])


def flat(obs):
    return np.concatenate([np.float32(value.reshape(len(value), -1)) for value in obs.values()], 1)


@pytest.mark.parametrize("fields", [PLACED, DIRECT], ids=["locked_position", "direct"])
def test_the_games_are_those_of_the_gymnasium_environment(fields):
    """Step by step the same, but for the steps in which that one only begins anew."""
    env, ours = TetrisVectorEnv(3, **fields), games.Games(3, 5, fields)
    seen, _ = env.reset(seed=5)
    obs, mask = ours.look()
    rng, direct = np.random.default_rng(0), fields is DIRECT
    np.testing.assert_array_equal(obs, flat(seen))
    lost = late = 0
    for _ in range(40):
        actions = random_actions(rng, mask, direct)
        turn = ours.step(actions)
        seen, reward, terminated, truncated, info = env.step(actions)
        np.testing.assert_array_equal(turn.reward, reward)
        np.testing.assert_array_equal(turn.terminated, terminated)
        np.testing.assert_array_equal(turn.truncated, truncated)
        np.testing.assert_array_equal(turn.final_obs, flat(seen))
        np.testing.assert_array_equal(turn.lines, info["lines"])
        np.testing.assert_array_equal(turn.pieces, info["pieces"])
        ended = terminated | truncated
        if ended.any():
            # The reference has to be stepped once more where a game has ended, and only there.
            before = env.get_state()
            seen = {name: value.copy() for name, value in seen.items()}
            fresh, *_ = env.step(np.zeros_like(actions))
            after = env.get_state()
            for old, new in ((before, after), (seen, fresh)):
                for name, value in old.items():
                    value[ended] = new[name][ended]
            env.set_state(before)
        np.testing.assert_array_equal(turn.obs, flat(seen))
        if not direct:
            np.testing.assert_array_equal(turn.mask, seen["action_mask"].astype(bool))
        mask, lost, late = turn.mask, lost + terminated.sum(), late + truncated.sum()
    assert lost > 3 and late > 3


def test_infos_tell_the_end_of_a_game():
    turn = games.Turn(
        obs=np.zeros((3, 2)),
        mask=np.ones((3, 1), bool),
        final_obs=np.arange(6.0).reshape(3, 2),
        reward=np.zeros(3),
        terminated=np.array([False, True, False]),
        truncated=np.array([False, False, True]),
        lines=np.zeros(3),
        pieces=np.zeros(3),
    )
    going, lost, late = games.infos(turn)
    assert going == {}
    assert list(lost["terminal_observation"]) == [2, 3] and lost["TimeLimit.truncated"] is False
    assert list(late["terminal_observation"]) == [4, 5] and late["TimeLimit.truncated"] is True


def test_each_game_is_measured_once_and_to_its_end():
    lengths = []

    def act(obs, mask):
        lengths.append(len(obs))
        return np.argmax(mask, 1)  # always the legal cell that is furthest up

    lines, pieces = games.play(act, episodes=3, seed=0, fields=PLACED)
    assert set(lengths) == {3} and len(lengths) == pieces.max() <= 3
    assert pieces.min() >= 1 and lines.shape == (3,)
    ours = games.Games(3, EVALUATION, PLACED)
    counted, ended = np.zeros(3, int), np.zeros(3, bool)
    _, mask = ours.look()
    while not ended.all():
        turn = ours.step(np.argmax(mask, 1))
        counted += ~ended
        ended |= turn.terminated | turn.truncated
        mask = turn.mask
    assert list(counted) == list(pieces)


def test_a_second_game_of_a_row_does_not_count(monkeypatch):
    class Scripted:
        """Row 0 ends a game at each step, with 1, 2, 3 lines; row 1 ends its first at the third."""

        def __init__(self, num_envs, seed, fields):
            assert (num_envs, seed, fields) == (2, 7 + EVALUATION, {})
            self.steps = 0

        def look(self):
            return np.zeros((2, 1)), np.ones((2, 1), bool)

        def step(self, actions):
            self.steps += 1
            lost, late = np.array([True, False]), np.array([False, self.steps == 3])
            counts = np.full(2, self.steps)
            return games.Turn(*self.look(), np.zeros((2, 1)), np.zeros(2), lost, late, counts, 10 * counts)

    monkeypatch.setattr(games, "Games", Scripted)
    lines, pieces = games.play(lambda obs, mask: np.zeros(2, int), episodes=2, seed=7, fields={})
    assert list(lines) == [1, 3] and list(pieces) == [10, 30]


def test_presses_differ_and_leave_out_what_they_say():
    assert games.PRESSES.shape == (18, 8) == np.unique(games.PRESSES, axis=0).shape
    assert not games.PRESSES[:, [buttons.SOFT, buttons.HOLD, buttons.NOTHING]].any()
    for pair in ([buttons.LEFT, buttons.RIGHT], [buttons.CLOCKWISE, buttons.COUNTERCLOCKWISE]):
        assert games.PRESSES[:, pair].sum(1).max() == 1


@functools.cache
def baselines():
    """The module, or a skipped test where its extra is not installed."""
    pytest.importorskip("stable_baselines3")
    pytest.importorskip("sb3_contrib")

    return baselines


def test_vec_env_as_stable_baselines_sees_it():
    env = baselines().TetrisVecEnv(3, 5, PLACED)
    assert env.has_attr("action_masks") and not env.has_attr("no_such_thing")
    obs, rng = env.reset(), np.random.default_rng(0)
    assert env.observation_space.contains(obs[0]) and env.action_space.n == 24
    np.testing.assert_array_equal(obs[:, -24:] > 0.5, np.stack(env.env_method("action_masks")))
    ends = 0
    for _ in range(20):
        actions = random_actions(rng, np.stack(env.env_method("action_masks")), False)
        obs, reward, ended, infos = env.step(actions)
        assert list(ended) == ["terminal_observation" in info for info in infos]
        assert reward.shape == (3,)
        for i in np.flatnonzero(ended):
            ends += 1
            assert env.observation_space.contains(infos[i]["terminal_observation"])
            assert not (infos[i]["terminal_observation"] == obs[i]).all()
    assert ends > 3
    pressing = baselines().TetrisVecEnv(2, 5, DIRECT, games.PRESSES)
    assert pressing.action_space.n == 18
    pressing.step(np.array([0, 17]))
    np.testing.assert_array_equal(pressing._actions, games.PRESSES[[0, 17]])


def test_dqn_leaves_illegal_cells_out():
    model = baselines()._dqn(PLACED, baselines().DEFAULTS["dqn"] | {"num_envs": 3, "buffer_size": 60}, 0, 1000)
    obs = model.get_env().reset()
    legal, torch = obs[:, -24:] > 0.5, pytest.importorskip("torch")
    for net in (model.q_net, model.q_net_target):
        values = net(torch.as_tensor(obs)).detach().numpy()
        assert (values[~legal] == -1e6).all() and (np.abs(values[legal]) < 10).all()
    for rate in (0.0, 1.0):
        model.exploration_rate = rate
        actions = np.array([model.predict(obs)[0] for _ in range(50)])
        assert legal[np.arange(3), actions].all()
        assert (len(np.unique(actions, axis=0)) > 1) == (rate == 1.0)
    none = np.zeros_like(obs)  # a lost game: its maximum must stay a number
    assert np.isfinite(model.q_net(torch.as_tensor(none)).detach().numpy()).all()


SMALL = {"units": 8, "layers": 1}
TINY = {
    "ppo": SMALL | {"num_envs": 4, "n_steps": 5, "batch_size": 10, "n_epochs": 1},
    "dqn": SMALL | {"num_envs": 4, "buffer_size": 100, "learning_starts": 20, "batch_size": 8, "gradient_steps": 1},
}


@pytest.mark.parametrize("fields", [PLACED, DIRECT], ids=["locked_position", "direct"])
@pytest.mark.parametrize("agent", ["ppo", "dqn"])
def test_agents_train_and_are_measured_when_they_should_be(agent, fields):
    reports = []
    baselines().train(
        agent,
        fields=fields,
        settings=baselines().DEFAULTS[agent] | TINY[agent],
        seed=0,
        checkpoints=[20, 60],
        episodes=3,
        report=lambda step, lines, pieces: reports.append((step, len(lines), pieces.min() > 0)),
    )
    # An episode of `direct` may end without a piece.
    assert [report[:2] for report in reports] == [(20, 3), (60, 3)]
    assert all(report[2] for report in reports) or fields is DIRECT


def test_unknown_settings_are_refused_before_anything_runs(tmp_path, capsys):
    baselines()
    from experiments.baselines import compare

    assert compare.main(["--agents=random,dqn", "--settings=n_steps=3", f"--results={tmp_path}"]) == 2
    assert "--settings: dqn has no n_steps; it has num_envs, " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_buttons_begin_with_their_bias():
    model, masked = baselines()._ppo(DIRECT, baselines().DEFAULTS["ppo"] | TINY["ppo"], 0)
    assert not masked
    assert list(model.policy.action_net.bias.detach().numpy()) == [0, 0, 0, 0, 0, -2, -3, 0]
