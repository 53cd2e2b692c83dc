"""The Gymnasium environments: spaces, seeds, autoreset, exact resume, and error messages."""

import subprocess
import sys
from importlib.util import find_spec

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import dreamjax  # noqa: F401  (registers the environments)
from dreamjax.config import ConfigError
from dreamjax.envs.tetris import engine, gym
from tests.helpers.tetris import DIRECT, PLACED

ID = "dreamjax/Tetris-v0"
NUM_ENVS = 4
MODES = {"direct": DIRECT, "locked_position": PLACED}


def options(mode):
    # The configurations that the other tests compile.
    return {"action_mode": mode, "max_episode_length": MODES[mode].max_episode_length}


def make(mode, **more):
    return gymnasium.make(ID, **options(mode), **more)


def make_vec(mode, num_envs=NUM_ENVS, **more):
    return gymnasium.make_vec(ID, num_envs=num_envs, **options(mode), **more)


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)
        assert np.asarray(left[name]).dtype == np.asarray(right[name]).dtype


def actions_of(env, number, seed=0):
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(number)]


def test_importing_the_package_registers_it_without_importing_jax():
    code = f"import dreamjax, gymnasium, sys; assert 'jax' not in sys.modules; print(gymnasium.spec({ID!r}).id)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ID


@pytest.mark.parametrize("mode", MODES)
def test_check_env_passes(mode):
    check_env(make(mode).unwrapped, skip_render_check=True)


def test_check_env_passes_with_one_button_at_a_time():
    check_env(gymnasium.make(ID, buttons="one").unwrapped, skip_render_check=True)


@pytest.mark.skipif(not find_spec("stable_baselines3"), reason="stable-baselines3 is an extra")
@pytest.mark.parametrize("mode", MODES)
def test_stable_baselines_check_env_passes(mode):
    from stable_baselines3.common.env_checker import check_env as check

    check(make(mode).unwrapped, warn=False, skip_render_check=True)


@pytest.mark.parametrize("mode", MODES)
def test_make_vec_is_one_program_for_all_games(mode):
    env = make_vec(mode)
    assert isinstance(env.unwrapped, gym.TetrisVectorEnv)
    assert env.metadata["autoreset_mode"] == gymnasium.vector.AutoresetMode.NEXT_STEP
    observed, info = env.reset(seed=0)
    assert env.observation_space.contains(observed)
    assert info["lines"].shape == (NUM_ENVS,) and info["_lines"].all()
    for action in actions_of(env, 5):
        observed, reward, terminated, truncated, info = env.step(action)
        assert env.observation_space.contains(observed)
        assert (reward.dtype, terminated.dtype, truncated.dtype) == (np.float64, bool, bool)
    compiled = gym._step._cache_size()
    for action in actions_of(env, 5, seed=1):
        env.step(action)
    assert gym._step._cache_size() == compiled
    if mode == "locked_position":
        assert info["action_mask"].shape == (NUM_ENVS, 200) and info["action_mask"].dtype == bool
        np.testing.assert_array_equal(info["action_mask"], observed["action_mask"])
    else:
        assert "action_mask" not in info


def test_seed_zero_is_a_seed_like_any_other():
    def pieces(seed):
        env = make("direct")
        first, _ = env.reset(seed=seed)
        return [first["piece"].tolist(), *(env.reset()[0]["piece"].tolist() for _ in range(6))]

    assert pieces(0) == pieces(0)
    assert pieces(2**40) == pieces(2**40)
    assert len({str(pieces(seed)) for seed in (0, 1, 2, 2**32, 2**40)}) == 5


def test_without_a_seed_games_differ():
    assert len({str(make("direct").unwrapped.reset()[0]["piece"]) for _ in range(12)}) > 1


@pytest.mark.parametrize("mode", MODES)
def test_game_i_does_not_depend_on_n_and_the_first_is_the_single_environments(mode):
    small, large, single = make_vec(mode), make_vec(mode, 7), make(mode)
    start = [env.reset(seed=3)[0] for env in (small, large, single)]
    is_over = False
    for action in [start, *actions_of(large, 25)]:
        if action is start:
            left, right, one = start
        else:
            left, right = small.step(action[:NUM_ENVS])[0], large.step(action)[0]
            if not is_over:
                one, _, terminated, truncated, _ = single.step(action[0])
                is_over = terminated or truncated
                assert_same(one, {name: value[0] for name, value in left.items()})
        assert_same(left, {name: value[:NUM_ENVS] for name, value in right.items()})
    boards = large.get_state()["bags"]
    assert len(np.unique(boards, axis=0)) == 7


def test_a_list_of_seeds_gives_each_game_its_own():
    env, single = make_vec("direct"), make("direct")
    observed, _ = env.reset(seed=[5, 0, 5, 9])
    for i, seed in enumerate([5, 0, 5, 9]):
        assert_same(single.reset(seed=seed)[0], {name: value[i] for name, value in observed.items()})
    with pytest.raises(ValueError, match="got 3 seeds, must be 1 or 4"):
        env.reset(seed=[1, 2, 3])


@pytest.mark.parametrize("mode", MODES)
def test_the_last_step_reports_the_score_and_the_next_step_starts_a_game(mode):
    env = make_vec(mode)
    env.reset(seed=1)
    was_over, lines, ended = np.zeros(NUM_ENVS, bool), np.zeros(NUM_ENVS, int), 0
    for action in actions_of(env, 150):
        observed, reward, terminated, truncated, info = env.step(action)
        is_over = terminated | truncated
        assert not (is_over & was_over).any() and not reward[was_over].any()
        assert not info["pieces"][was_over].any() and not info["lines"][was_over].any()
        assert (observed["piece"][was_over, 29] == 0).all() and not observed["board"][was_over, 0].any()
        lines = np.where(was_over, 0, lines + info["lines_cleared"])
        np.testing.assert_array_equal(info["lines"], lines)
        parts = sum(info[f"reward/{name}"] for name in ("lines", "piece", "death", "shaping"))
        np.testing.assert_allclose(reward, parts)
        ended += is_over.sum()
        was_over = is_over
    assert ended > 4


@pytest.mark.parametrize("mode", MODES)
def test_a_restored_state_continues_bit_for_bit(mode):
    env, other = make_vec(mode), make_vec(mode)
    env.reset(seed=2)
    moves = actions_of(env, 60)
    for action in moves[:20]:
        before = env.step(action)
    saved = env.get_state()
    assert all(isinstance(array, np.ndarray) for array in saved.values())
    copy = {name: array.copy() for name, array in saved.items()}
    observed, info = other.unwrapped.set_state(saved)
    assert_same(observed, before[0])
    assert_same({k: info[k] for k in ("lines", "pieces")}, {k: before[4][k] for k in ("lines", "pieces")})
    for action in moves[20:]:
        left, right = env.step(action), other.step(action)
        assert_same(left[0], right[0])
        np.testing.assert_array_equal(np.stack(left[1:4]), np.stack(right[1:4]))
    assert_same(env.reset()[0], other.reset()[0])  # Games to come are part of the state.
    assert_same(saved, copy)


def test_a_single_game_is_restored_too():
    env, other = make("locked_position").unwrapped, make("locked_position").unwrapped
    env.reset(seed=4)
    last = env.step(150)
    observed, info = other.set_state(env.get_state())
    assert_same(observed, last[0])
    assert info["pieces"] == 1
    assert_same(env.step(3)[0], other.step(3)[0])


def test_a_state_saved_under_the_old_field_name_is_restored():
    env = make_vec("locked_position")
    env.reset(seed=0)
    state = env.get_state()
    env.unwrapped.set_state({"codes" if name == "legal_cells" else name: array for name, array in state.items()})
    assert_same(env.get_state(), state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("hold"), "missing or unknown: hold"),
        (lambda s: s.update(extra=np.zeros(4)), "missing or unknown: extra"),
        (lambda s: s.update(x=s["x"].astype(np.int64)), "state['x'] is int64[4]: must be int32[4]"),
        (lambda s: s.update(board=s["board"][:2]), "state['board'] is uint32[2, 10]: must be uint32[4, 10]"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(change, message):
    env = make_vec("direct")
    env.reset(seed=0)
    state = env.get_state()
    change(state)
    with pytest.raises(ValueError, match="state") as raised:
        env.unwrapped.set_state(state)
    assert message in str(raised.value)


@pytest.mark.parametrize("mode", MODES)
def test_a_fixed_sequence_of_pieces_repeats(mode):
    env = make(mode)
    observed, _ = env.reset(options={"pieces": [3, 0, 6]})
    drop = np.eye(8, dtype=np.int8)[5] if mode == "direct" else 190
    seen = []
    for _ in range(5):
        seen.append((int(observed["piece"][:7].argmax()), int(observed["piece"][7:14].argmax())))
        observed, *_ = env.step(drop)
    assert seen == [(3, 0), (0, 6), (6, 3), (3, 0), (0, 6)]


def test_a_fixed_sequence_for_all_games_or_for_each():
    env = make_vec("locked_position")
    observed, _ = env.reset(seed=0, options={"pieces": [1, 4]})
    assert observed["piece"][:, :7].argmax(1).tolist() == [1] * 4
    streams = [[0], [1, 2], [2, 3, 4], np.array([3, 5])]
    observed, _ = env.reset(options={"pieces": streams})
    assert observed["piece"][:, :7].argmax(1).tolist() == [0, 1, 2, 3]
    assert observed["piece"][:, 7:14].argmax(1).tolist() == [0, 2, 3, 5]
    for expected in ([0, 2, 3, 5], [0, 1, 4, 3]):
        observed, *_ = env.step(np.array([190, 190, 190, 190]))
        assert observed["piece"][:, :7].argmax(1).tolist() == expected
    with pytest.raises(ValueError, match="got 2 sequences, must be 1 or 4"):
        env.reset(options={"pieces": [[0], [1]]})


def test_wrong_use_is_reported():
    with pytest.raises(ConfigError, match="actionmode is not a configuration field: did you mean action_mode"):
        gymnasium.make(ID, actionmode="direct")
    with pytest.raises(ConfigError, match="num_envs=0 is not allowed: must be 1 or more"):
        gym.TetrisVectorEnv(0)
    with pytest.raises(ValueError, match="render_mode='rgb': must be None or one of human, ansi, rgb_array"):
        gym.TetrisEnv(render_mode="rgb")
    env = make("locked_position").unwrapped
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)
    with pytest.raises(ValueError, match="reset option 'piece': unknown"):
        env.reset(options={"piece": [0]})
    with pytest.raises(ValueError, match="integers from 0 to 6"):
        env.reset(options={"pieces": [7]})
    env.reset()
    for action in (200, -1):
        with pytest.raises(ValueError, match="must be from 0 to 199"):
            env.step(action)
    for action in ([0], 1.5):
        with pytest.raises(ValueError, match="must be of integers or bools with shape"):
            env.step(action)
    env = make("direct").unwrapped
    env.reset()
    with pytest.raises(ValueError, match=r"shape \(7,\).*with shape \(8,\)"):
        env.step(np.zeros(7, np.int8))
    with pytest.raises(ValueError, match="must be from 0 to 1"):
        env.step(np.full(8, 2))


@pytest.mark.parametrize("mode", MODES)
def test_the_state_feeds_the_pure_functions(mode):
    env = make_vec(mode).unwrapped
    observed, _ = env.reset(seed=0)
    config = env.config
    look = jax.jit(jax.vmap(lambda state: engine.observe(config, state)))
    assert_same({k: np.asarray(v) for k, v in look(env.state).items()}, observed)
    single = make(mode).unwrapped
    observed, _ = single.reset(seed=0)
    assert single.state.board.shape == (10,)
    seen = jax.jit(lambda state: engine.observe(config, state))(single.state)
    assert_same({k: np.asarray(v) for k, v in seen.items()}, observed)


def test_arrays_handed_out_are_the_callers_own():
    env = make_vec("locked_position")
    first, _ = env.reset(seed=0)
    for array in first.values():
        array[...] = 1
    second, *_ = env.step(np.zeros(NUM_ENVS, int))
    assert second["board"].sum() == 4 * NUM_ENVS


@pytest.mark.parametrize("mode", MODES)
def test_rendering(mode):
    env = make(mode, render_mode="rgb_array")
    env.reset(seed=0)
    image = env.render()
    assert image.dtype == np.uint8 and image.shape == (240, 120, 3)
    texts = make_vec(mode, render_mode="ansi")
    texts.reset(seed=0)
    assert [text.count("\n") for text in texts.render()] == [22] * NUM_ENVS
    assert make(mode).unwrapped.render() is None


def test_human_rendering_writes_to_the_terminal(capsys):
    env = gymnasium.make(ID, render_mode="human")
    env.reset(seed=0)
    env.step(np.zeros(8, np.int8))
    env.close()
    shown = capsys.readouterr().out
    assert "DreamJAX Tetris" in shown and "step 1" in shown
