"""Games of Tetris side by side for agents that see vectors: new games begin within the step that ended the last ones.

The rules, the observations, the rewards and the games themselves are those of the Gymnasium environment
`dreamjax/Tetris-v0`; an observation's entries are laid end to end in one vector.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.envs.tetris import TetrisVectorEnv, buttons, engine, rules
from dreamjax.envs.tetris.rules import TetrisConfig, TetrisState
from dreamjax.seeds import evaluation_seed


def _presses() -> np.ndarray:
    table = []
    sides, turns = (None, buttons.LEFT, buttons.RIGHT), (None, buttons.CLOCKWISE, buttons.COUNTERCLOCKWISE)
    for side, turn, drop in itertools.product(sides, turns, (None, buttons.HARD)):
        table.append([int(button in (side, turn, drop)) for button in range(8)])
    return np.array(table, np.int8)


PRESSES = _presses()
"""int8[18, 8]: presses for an agent that makes one choice of many: no shift, left or right, with no turn, either turn, with
or without a hard drop. Left out are soft drop and hold, and presses that cancel each other."""


class Turn(NamedTuple):
    """What a step of N games gives.

    Attributes:
        obs: float32 ``[N, D]``, what to act from next: of a new game where one has ended.
        mask: bool ``[N, A]``, its legal actions; all True in `direct`.
        final_obs: float32 ``[N, D]``, what the step itself led to: the last sight of a game that has ended.
        reward: float32 ``[N]``; terminated, truncated: bool ``[N]``, of the step.
        lines, pieces: int32 ``[N]``, of the game so far, of its end where it has ended.
    """

    obs: Any
    mask: Any
    final_obs: Any
    reward: Any
    terminated: Any
    truncated: Any
    lines: Any
    pieces: Any


def flat_observation(config: TetrisConfig, state: TetrisState) -> jax.Array:
    """float32 ``[D]`` in [0, 1]: board, piece and, in `locked_position`, action mask of one game, end to end."""
    seen = engine.observe(config, state)
    names = [name for name in ("board", "piece", "action_mask") if name in seen]
    return jnp.concatenate([seen[name].reshape(-1).astype(jnp.float32) for name in names])


class Games:
    """N games that go on for ever; `seed` decides them as it does those of the Gymnasium environment.

    Args:
        num_envs: how many. seed: of the pieces. fields: those of `TetrisConfig`.
    """

    def __init__(self, num_envs: int, seed: int, fields: dict[str, Any]) -> None:
        env = TetrisVectorEnv(num_envs, **fields)
        env.reset(seed=seed)
        self.config, self.num_envs, self._states = env.config, num_envs, env.state

    def look(self) -> tuple[np.ndarray, np.ndarray]:
        """Observations ``[N, D]`` and masks ``[N, A]`` of the games as they stand."""
        obs, mask = _look(self.config, self._states)
        return np.array(obs), np.array(mask)

    def step(self, actions: np.ndarray) -> Turn:
        """Acts in every game: cells ``[N]``, or buttons ``[N, 8]``."""
        self._states, turn = _step(self.config, self._states, np.asarray(actions))
        return Turn(*map(np.array, turn))


@functools.partial(jax.jit, static_argnums=0)
def _look(config: TetrisConfig, states: TetrisState) -> Any:
    seen = jax.vmap(functools.partial(flat_observation, config))(states)
    return seen, jax.vmap(functools.partial(engine.action_mask, config))(states)


@functools.partial(jax.jit, static_argnums=0)
def _step(config: TetrisConfig, states: TetrisState, actions: jax.Array) -> Any:
    def one(state: TetrisState, action: jax.Array) -> Any:
        after, output = engine.step(config, state, action)
        is_over = output.terminated | output.truncated
        fresh = engine.reset(config, rules.next_key(state.key), jnp.zeros_like(state.fixed), num_pieces=0)
        going = jax.tree.map(lambda new, old: jnp.where(is_over, new, old), fresh, after)
        return going, Turn(
            obs=flat_observation(config, going),
            mask=engine.action_mask(config, going),
            final_obs=flat_observation(config, after),
            reward=output.reward,
            terminated=output.terminated,
            truncated=output.truncated,
            lines=after.lines,
            pieces=after.pieces,
        )

    return jax.vmap(one)(states, actions)


def infos(turn: Turn) -> list[dict[str, Any]]:
    """Infos of each game for stable-baselines3: where one has ended, its last observation, and whether time ran out."""
    result: list[dict[str, Any]] = [{} for _ in turn.reward]
    for i in np.flatnonzero(turn.terminated | turn.truncated):
        result[i]["terminal_observation"] = turn.final_obs[i]
        result[i]["TimeLimit.truncated"] = bool(turn.truncated[i] and not turn.terminated[i])
    return result


def play(
    act: Callable[[np.ndarray, np.ndarray], np.ndarray], *, episodes: int, seed: int, fields: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Plays each of ``episodes`` games, side by side, to its end.

    Args:
        act: actions from observations ``[N, D]`` and masks ``[N, A]``.
        seed: of the run that is measured; the games are those of the run's own evaluations.

    Returns:
        Lines and pieces of every game, int32 ``[episodes]`` each.
    """
    games = Games(episodes, evaluation_seed(seed), fields)
    lines, pieces = np.zeros((2, episodes), np.int32)
    waiting = np.ones(episodes, bool)
    obs, mask = games.look()
    while waiting.any():
        turn = games.step(act(obs, mask))
        ended = waiting & (turn.terminated | turn.truncated)
        lines[ended], pieces[ended] = turn.lines[ended], turn.pieces[ended]
        waiting &= ~ended
        obs, mask = turn.obs, turn.mask
    return lines, pieces
