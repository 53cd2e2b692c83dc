"""What is wrong with an environment, found by random play."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from dreamjax.config import EnvConfig
from dreamjax.envs.checks import EnvError, EnvWarning, get_path, leaves, path_name
from dreamjax.envs.make import find_spec, make_env, make_single
from dreamjax.envs.single import NUMERIC, CheckedEnv, RawRewards, clips_reward
from dreamjax.types import MASK_KEY, EnvSpec, ObsSpec, Records

TRACE_STEPS = 200  # compared between two runs of one seed
LIMIT_NAMES = ("max_steps", "max_episode_steps", "max_episode_length", "time_limit", "horizon", "_max_episode_steps")


@dataclass
class Findings:
    """What was found.

    Attributes:
        spaces: of observations and actions, once the environment is made.
        obs: the record entries, once training could make the environment.
        program: what steps the environments, in words.
        largest: the greatest magnitude of a reward of the single environment.
        problems, warnings: by kind, the text of the first occurrence and how often it occurred.
    """

    spaces: tuple[spaces.Space, spaces.Space] | None = None
    obs: dict[str, ObsSpec] | None = None
    program: list[str] = field(default_factory=list)
    largest: float = 0.0
    problems: dict[str, list[Any]] = field(default_factory=dict)
    warnings: dict[str, list[Any]] = field(default_factory=dict)

    def problem(self, kind: str, text: str) -> None:
        self.problems.setdefault(kind, [text, 0])[1] += 1

    def warning(self, kind: str, text: str) -> None:
        self.warnings.setdefault(kind, [text, 0])[1] += 1


@dataclass
class Episode:
    """One episode as the environment reported it."""

    length: int
    terminated: bool
    last: Any
    following: Any = None  # observation of the reset after it


def check(config: EnvConfig, *, steps: int, seed: int) -> tuple[Findings, int]:
    """Plays the single and the vector environment, as far as they exist; returns findings and number of episodes.

    Raises:
        EnvError: there is no such environment.
    """
    spec, findings, episodes = find_spec(config.id), Findings(), 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")  # Gymnasium's own; what matters is found here
        warnings.simplefilter("always", EnvWarning)
        if spec.entry_point is not None:
            episodes += len(check_single(spec, config, findings, steps=steps, seed=seed))
        if spec.vector_entry_point is not None or not {"make", "refused", "exception"} & findings.problems.keys():
            episodes += check_records(spec, config, findings, steps=steps, seed=seed)
    for warning in caught:
        text = str(warning.message).removeprefix(f"{config.id}: ")
        findings.warnings.setdefault(text, [text, 1])
    return findings, episodes


def check_single(spec: Any, config: EnvConfig, findings: Findings, *, steps: int, seed: int) -> list[Episode]:
    """Random episodes of one environment, then two runs of one seed."""
    try:
        env = make_single(config)
    except Exception as error:
        findings.problem("make", f"it cannot be made: {type(error).__name__}: {error}")
        return []
    findings.spaces = (env.env.observation_space, env.action_space)
    findings.program.append(f"the environment: {' of '.join(wrappers(env.env))}")
    episodes: list[Episode] = []
    varied = False
    step = 0
    try:
        env.action_space.seed(seed)
        observation, info = env.reset(seed=seed)
        first, length = observation, 0
        check_observation(env.observation_space, observation, 0, findings)
        for step in range(1, steps + 1):
            observation, reward, terminated, truncated, info = env.step(choose(env.action_space, observation, info))
            findings.largest = max(findings.largest, abs(reward))
            length += 1
            check_observation(env.observation_space, observation, step, findings)
            varied |= not same(observation, first)
            if terminated or truncated:
                episodes.append(Episode(length, bool(terminated), observation))
                observation, info = env.reset()
                check_observation(env.observation_space, observation, step, findings)
                episodes[-1].following = observation
                first, length = observation, 0
    except EnvError as error:
        findings.problem("refused", f"step {step}: {str(error).removeprefix('environment 0: ')}")
        return episodes
    except Exception as error:
        findings.problem("exception", f"step {step} raised {type(error).__name__}: {error}")
        return episodes
    finally:
        with contextlib.suppress(Exception):
            env.close()
    check_ends(episodes, time_limit(spec, env), varied, findings)
    check_seed(config, findings, steps=min(steps, TRACE_STEPS), seed=seed)
    return episodes


def wrappers(env: gymnasium.Env) -> list[str]:
    """Returns the names of an environment and of the wrappers around it, the outermost first."""
    names = []
    while isinstance(env, gymnasium.Wrapper):
        if not isinstance(env, OrderEnforcing | PassiveEnvChecker | RawRewards):
            limit = getattr(env, "_max_episode_steps", None) if isinstance(env, TimeLimit) else None
            says = f" ({limit} steps)" if limit else " (returns are counted before it)" if clips_reward(env) else ""
            names.append(type(env).__name__ + says)
        env = env.env
    return [*names, type(env).__name__]


def check_records(spec: Any, config: EnvConfig, findings: Findings, *, steps: int, seed: int) -> int:
    """Plays through the adapter, as training does, which refuses bad values itself; returns the number of episodes."""
    vector = spec.vector_entry_point is not None
    ended, repeated, varied, largest = 0, 0, False, 0.0
    num_envs, what = (4, "as a vector environment") if vector else (1, "in training")
    steps = max(1, steps // num_envs) if vector else min(steps, TRACE_STEPS)
    rng = np.random.default_rng(seed)
    adapter = None
    try:
        adapter = make_env(dataclasses.replace(config, workers=0), num_envs, seed=seed)
        if findings.spaces is None:
            findings.spaces = (adapter.env.single_observation_space, adapter.env.single_action_space)
        findings.obs = dict(adapter.spec.obs)
        if type(adapter.env) is not SyncVectorEnv:
            kind = type(adapter.env).__name__
            findings.program.append(f"without workers: its vector program {kind}, which has the same spaces")
        records = adapter.reset()
        first = records.obs
        for _ in range(steps):
            final, following = adapter.step(random_actions(adapter.spec, records, rng))
            last = records if final is None else final
            largest = max(largest, float(np.abs(following.reward).max()))
            for row in np.flatnonzero(last.is_last):
                i = int(last.env[row])
                ended += 1
                repeated += all((value[row] == following.obs[key][i]).all() for key, value in last.obs.items())
            varied |= any((value != first[key]).any() for key, value in following.obs.items())
            records = following
    except Exception as error:
        reason = str(error) if isinstance(error, EnvError) else f"{type(error).__name__}: {error}"
        findings.problem("records", f"{what}: {reason}")
    finally:
        if adapter is not None:
            adapter.close()
    if ended > 1 and repeated == ended and varied:
        findings.problem("records end", f"{what}: no terminal observation: the last is the next reset's")
    less, more = sorted((findings.largest, largest))
    if vector and 0 < 2 * less < more:
        text = f"rewards reach {findings.largest:g} in the environment itself and {largest:g} in its vector program"
        findings.warning("rewards", f"{text}: if one of them clips rewards, training differs with workers")
    return ended if vector else 0


def random_actions(spec: EnvSpec, records: Records, rng: np.random.Generator) -> np.ndarray:
    """Uniform action records ``[N, K]``, legal ones where there is a mask."""
    columns: list[Any] = []
    for part in spec.action.parts:
        shape = (len(records), part.columns)
        if part.kind == "continuous":
            columns.append(rng.uniform(-1, 1, shape))
        elif part.masked:
            scores = rng.random((len(records), part.size)) * records.obs[MASK_KEY]
            columns.append(scores.argmax(axis=1)[:, None])
        else:
            columns.append(rng.integers(0, part.size if part.kind == "categorical" else 2, shape))
    return np.concatenate(columns, axis=1).astype(spec.action.record_dtype)


def choose(space: spaces.Space, observation: Any, info: dict[str, Any]) -> Any:
    """A random action, a legal one where a mask says which are."""
    mask = info.get(MASK_KEY)
    if mask is None and isinstance(observation, dict):
        mask = observation.get(MASK_KEY)
    if mask is not None and isinstance(space, spaces.Discrete) and np.size(mask) == space.n:
        return space.sample(mask=np.asarray(mask, np.int8).reshape(-1))
    return space.sample()


def same(a: Any, b: Any) -> bool:
    """Whether two native observations are equal, NaN included."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f"))


def check_observation(space: spaces.Space, observation: Any, step: int, findings: Findings) -> None:
    """NaN and bounds of one observation in the types of its space."""
    for path, child in leaves(space):
        name, value = path_name(path), get_path(observation, path)
        if not isinstance(child, NUMERIC):
            continue
        if not np.isfinite(value).all():
            findings.problem(f"nan {name}", f"step {step}: {name!r} holds NaN or infinity")
        elif isinstance(child, spaces.Box):
            outside = (value < child.low) | (value > child.high)
            if outside.any():
                text = f"step {step}: {name!r} holds {value[outside].flat[0]}, outside of the bounds of its space"
                findings.problem(f"bounds {name}", text)
        elif not child.contains(value if value.shape else child.dtype.type(value)):  # type: ignore[union-attr]
            findings.problem(f"bounds {name}", f"step {step}: {name!r} is {value}, not in {child}")


def time_limit(spec: Any, env: gymnasium.Env) -> int | None:
    """The number of steps after which episodes are cut, where anything says so."""
    values = [spec.max_episode_steps, *(getattr(env.unwrapped, name, None) for name in LIMIT_NAMES)]
    return next((int(value) for value in values if isinstance(value, int | np.integer) and value > 1), None)


def check_ends(episodes: list[Episode], limit: int | None, varied: bool, findings: Findings) -> None:
    """Finds time limits reported as termination, and last observations that are the next reset's."""
    if not episodes:
        findings.warning("endless", "no episode ended: run more --steps to see one end")
        return
    lengths = {episode.length for episode in episodes if episode.terminated}
    at_limit = sum(episode.terminated and episode.length == limit for episode in episodes)
    if at_limit > 1 and at_limit * 2 > len(episodes):
        text = f"{at_limit} of {len(episodes)} episodes end after exactly {limit} steps, the time limit"
        findings.problem("limit", f"a time limit is reported as termination: {text}; it must be `truncated`")
    elif (
        len(episodes) > 4 and all(episode.terminated for episode in episodes) and len(lengths) == 1 and max(lengths) > 1
    ):
        text = f"all {len(episodes)} episodes terminate after {lengths.pop()} steps"
        findings.warning("length", f"{text}: if that is a time limit, it must be `truncated`")
    if varied and len(episodes) > 1 and all(same(episode.last, episode.following) for episode in episodes):
        findings.problem("end", "no terminal observation: each episode's last is the next reset's")


def check_seed(config: EnvConfig, findings: Findings, *, steps: int, seed: int) -> None:
    """Two new environments, one seed, the same actions: the same everything."""
    pair: list[CheckedEnv] = []
    try:
        for index in range(2):
            pair.append(make_single(config, index))
    except Exception as error:
        text = f"a second one cannot be made beside the first: {type(error).__name__}: {error}"
        findings.warning("second", f"{text}; train with num_envs=1 or with workers")
        for env in pair:
            env.close()
        return
    pair[0].action_space.seed(seed)
    results: list[Any] = [env.reset(seed=seed) for env in pair]
    for step in range(steps + 1):
        (a, *others), (b, *other_others) = results
        outcome, other_outcome = others[:-1], other_others[:-1]  # infos may hold clocks
        if not same(a, b) or not all(map(same, outcome, other_outcome)):
            findings.problem("seed", f"seeds are not reproducible: two runs of seed {seed} differ at step {step}")
            break
        ended = bool(outcome) and (outcome[1] or outcome[2])
        action = choose(pair[0].action_space, a, others[-1])
        results = [env.reset() if ended else env.step(action) for env in pair]
    for env in pair:
        env.close()
