"""A trained agent that takes and gives what a Gymnasium environment gives and takes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from dreamjax.agents.acting import Carry
from dreamjax.agents.agent import Agent
from dreamjax.envs.action_codec import ActionCodec
from dreamjax.envs.checks import EnvError
from dreamjax.envs.obs_codec import ObsCodec
from dreamjax.types import MASK_KEY, Params


class Player:
    """Acts for one environment or for a batch of them.

    Args:
        agent: the functions. params: ``TrainState.params``.
        observations, actions: of the environment's single spaces.
        policy: one of the agent's ways to act; None: ``agent.policy``. seed: of what ``predict`` samples.
    """

    def __init__(
        self,
        agent: Agent,
        params: dict[str, Params],
        observations: ObsCodec,
        actions: ActionCodec,
        policy: Callable | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.agent, self.params = agent, params
        self._observations, self._actions = observations, actions
        self._policy = jax.jit(policy or agent.policy, static_argnames="greedy")
        self._key = jax.random.key(seed)

    def predict(
        self, obs: Any, state: Carry | None = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Carry]:
        """One step, with the arguments of ``predict`` of Stable-Baselines3, for code that is written for it.

        Args:
            obs: an observation of the environment, or of a vector environment.
            state: what the last call returned; None at the very first step.
            episode_start: whether ``obs`` comes from a reset: a bool for one environment, bool ``[N]`` for a batch; None:
                one environment, at its first step where ``state`` is None.
            deterministic: take the best action rather than a sample, drawn by a key of this object.

        Returns:
            As ``act``.

        Raises:
            EnvError: the observation is not of the environment's space.
        """
        self._key, key = jax.random.split(self._key)
        is_first = state is None if episode_start is None else episode_start
        return self.act(obs, state, is_first=is_first, key=key, greedy=deterministic)

    def act(
        self,
        obs: Any,
        carry: Carry | None,
        *,
        is_first: Any,
        key: jax.Array,
        greedy: bool = True,
        action_mask: Any = None,
    ) -> tuple[Any, Carry]:
        """One step.

        Args:
            obs: an observation of the environment, or of a vector environment.
            carry: what the last call returned; None at the very first step.
            is_first: whether ``obs`` comes from a reset: a bool for one environment, bool ``[N]`` for a batch.
            key: typed PRNG key, consumed.
            greedy: take the best action rather than a sample.
            action_mask: legal actions, where the environment tells them in ``info`` and not in its observation; None if
                this info has none: all are legal. Outside of resets, None is warned about.

        Returns:
            The environment's own kind of action (of a vector environment: a batch of them), and the carry.

        Raises:
            EnvError: the observation or the mask is not of the environment's spaces.
        """
        single = np.ndim(is_first) == 0
        first = np.atleast_1d(np.asarray(is_first, bool))
        num_envs = len(first)
        records = (
            self._observations.encode_rows([obs], np.zeros(1, np.int32))
            if single
            else self._observations.encode(obs, num_envs)
        )
        if MASK_KEY in self.agent.spec.obs and MASK_KEY not in records:
            records[MASK_KEY] = _legal(action_mask, first, self.agent.spec.obs[MASK_KEY].size)
        carry = self.agent.initial_carry(num_envs) if carry is None else carry
        keys = jax.random.split(key, num_envs)
        carry, record, _ = self._policy(self.params, carry, records, first, keys, greedy=greedy)
        action = self._actions.decode(np.asarray(record))
        return (_first(action) if single else action), carry


def _legal(mask: Any, first: np.ndarray, size: int) -> np.ndarray:
    """Returns the legal actions, bool ``[N, size]``; all of them where the environment gave no mask."""
    if mask is None:
        if not first.all():
            warnings.warn(
                "act got no action_mask, so every action counts as legal: pass action_mask=info.get('action_mask')",
                stacklevel=3,
            )
        return np.ones((len(first), size), bool)
    legal = np.asarray(mask) != 0
    if legal.size != len(first) * size:
        raise EnvError(f"action_mask has shape {legal.shape}, not {size} entries for each of {len(first)} environments")
    return legal.reshape(len(first), size)


def _first(action: Any) -> Any:
    """The only action of a batch of one, in the space's nesting."""
    if isinstance(action, dict):
        return {name: _first(value) for name, value in action.items()}
    if isinstance(action, tuple):
        return tuple(_first(value) for value in action)
    return action[0]
