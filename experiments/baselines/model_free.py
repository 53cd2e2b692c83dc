"""Model-free agents of stable-baselines3 and sb3-contrib on the games that Dreamer plays (extra `baselines`).

``ppo`` is PPO: MaskablePPO in `locked_position`; in `direct` PPO with one Bernoulli variable for each button. ``dqn`` is
DQN: in `locked_position` over the 200 cells, illegal ones left out of exploration, of the greedy action and of the
target's maximum (its mask is in the observation); in `direct`, since DQN needs one choice of many, over the 18 presses of
`games.PRESSES`. All see the whole observation (board, piece and mask) as one vector and are networks of dense layers.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork

from experiments.baselines import games

DEFAULTS: dict[str, dict[str, Any]] = {
    "ppo": dict(
        num_envs=100,
        n_steps=100,
        batch_size=1000,
        n_epochs=4,
        learning_rate=5e-4,
        gamma=0.99,
        gae_lambda=0.95,
        clip_range=0.2,
        ent_coef=0.01,
        units=256,
        layers=2,
        binary_bias=(0.0, 0.0, 0.0, 0.0, 0.0, -2.0, -3.0, 0.0),
    ),
    "dqn": dict(
        num_envs=20,
        buffer_size=200_000,
        learning_starts=2_000,
        batch_size=128,
        gradient_steps=5,
        learning_rate=3e-4,
        gamma=0.99,
        target_update_interval=2_000,
        exploration_steps=20_000,
        exploration_final_eps=0.02,
        units=256,
        layers=2,
    ),
}
"""Settings by agent. ``exploration_steps``: over which DQN's share of random actions falls to its final value, the same
for runs of any length; ``binary_bias``: of the buttons' logits at the start, as in `experiments/tetris_direct.py`."""


def defaults(agent: str, mode: str) -> dict[str, Any]:
    """The settings of an agent in an action mode."""
    # Found with one seed: see README.
    pressing = {"num_envs": 40, "n_steps": 50, "batch_size": 500, "ent_coef": 0.001}
    return DEFAULTS[agent] | (pressing if (agent, mode) == ("ppo", "direct") else {})


class TetrisVecEnv(VecEnv):
    """Games as stable-baselines3 wants them: `infos` has `terminal_observation` and `TimeLimit.truncated` at an end.

    Args:
        num_envs, seed, fields: as of `Games`.
        presses: buttons by action, int8 ``[A, 8]``, to choose among in `direct`; None for the environment's own actions.
    """

    def __init__(self, num_envs: int, seed: int, fields: dict[str, Any], presses: np.ndarray | None = None) -> None:
        self.games, self.presses = games.Games(num_envs, seed, fields), presses
        self._obs, self._mask = self.games.look()
        self._actions = np.zeros(0)
        space: gymnasium.Space[Any] = gymnasium.spaces.MultiBinary(8)
        if presses is not None:
            space = gymnasium.spaces.Discrete(len(presses))
        elif self.games.config.action_mode == "locked_position":
            space = gymnasium.spaces.Discrete(self._mask.shape[1])
        seen = gymnasium.spaces.Box(0.0, 1.0, self._obs.shape[1:], np.float32)
        super().__init__(num_envs, seen, space)

    def reset(self) -> np.ndarray:
        return self._obs

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions if self.presses is None else self.presses[actions]

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        turn = self.games.step(self._actions)
        self._obs, self._mask = turn.obs, turn.mask
        return turn.obs, turn.reward, turn.terminated | turn.truncated, games.infos(turn)

    def close(self) -> None:
        pass

    def _rows(self, indices: Any) -> list[int]:
        return list(range(self.num_envs) if indices is None else np.atleast_1d(indices))

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        if attr_name == "render_mode":
            return [None for _ in self._rows(indices)]
        if attr_name == "action_masks":
            return [(lambda i=i: self._mask[i]) for i in self._rows(indices)]
        raise AttributeError(attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise AttributeError(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        return [method(*args, **kwargs) for method in self.get_attr(method_name, indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False for _ in self._rows(indices)]


class MaskedQNetwork(QNetwork):
    """A Q-network whose illegal actions have values too low to be a maximum; the observation ends with the mask."""

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        values = super().forward(obs)
        # Finite, since a lost game has no legal action and its maximum is multiplied by zero.
        return torch.where(obs[:, -values.shape[1] :] > 0.5, values, -1e6)


class MaskedDQNPolicy(DQNPolicy):
    """DQN's policy over a `MaskedQNetwork`."""

    def make_q_net(self) -> QNetwork:
        net_args = self._update_features_extractor(self.net_args, features_extractor=None)
        return MaskedQNetwork(**net_args).to(self.device)


class VectorDQN(DQN):
    """DQN that explores in each environment by itself, and legally; the original draws once for all of them."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        action, state = self.policy.predict(observation, state, episode_start, deterministic=True)
        if deterministic:
            return action, state
        explores = np.random.random(len(action)) < self.exploration_rate
        return np.where(explores, self._random_actions(observation), action), state

    def _sample_action(self, learning_starts: int, action_noise: Any = None, n_envs: int = 1) -> Any:
        if self.num_timesteps < learning_starts:
            actions = self._random_actions(self._last_obs)
        else:
            actions, _ = self.predict(self._last_obs)
        return actions, actions

    def _random_actions(self, observation: Any) -> np.ndarray:
        size = int(self.action_space.n)
        if isinstance(self.policy, MaskedDQNPolicy):
            legal = observation[:, -size:] > 0.5
        else:
            legal = np.ones((len(observation), size), bool)
        return np.argmax(np.where(legal, np.random.random(legal.shape), -1.0), axis=1)


class Checkpoints(BaseCallback):
    """Calls ``measure(steps)`` when each number of environment steps is reached and learned from."""

    def __init__(self, steps: Sequence[int], measure: Callable[[int], None]) -> None:
        super().__init__()
        self._left, self._measure = sorted(steps), measure

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self._left and self.num_timesteps >= self._left[0]:
            self._measure(self.num_timesteps)
            self._left = [step for step in self._left if step > self.num_timesteps]

    _on_training_end = _on_rollout_start


def train(
    agent: str,
    *,
    fields: dict[str, Any],
    settings: dict[str, Any],
    seed: int,
    checkpoints: Sequence[int],
    episodes: int,
    report: Callable[[int, np.ndarray, np.ndarray], None],
) -> None:
    """Trains to the last of ``checkpoints`` and plays ``episodes`` greedy games at each of them.

    Args:
        agent: ``ppo`` or ``dqn``. fields: of the environment. settings: as in ``DEFAULTS``, all of them.
        report: called with the environment steps so far, and lines and pieces of every game, int32 ``[episodes]``.
    """
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.distributions.Distribution.set_default_validate_args(
        False
    )  # It costs time, and trips over 200 masked logits.
    if agent == "dqn":
        model, masked = _dqn(fields, dict(settings), seed, max(checkpoints)), False
    else:
        model, masked = _ppo(fields, dict(settings), seed)
    presses = games.PRESSES if agent == "dqn" and fields["action_mode"] == "direct" else None

    def act(obs: np.ndarray, mask: np.ndarray) -> np.ndarray:
        known = {"action_masks": mask} if masked else {}
        action, _ = model.predict(obs, deterministic=True, **known)
        return action if presses is None else presses[action]

    def measure(step: int) -> None:
        report(step, *games.play(act, episodes=episodes, seed=seed, fields=fields))

    model.learn(max(checkpoints), callback=Checkpoints(checkpoints, measure), log_interval=None)


def versions() -> dict[str, str]:
    """Versions of what the agents are made of."""
    return {name: importlib.metadata.version(name) for name in ("stable-baselines3", "sb3-contrib", "torch")}


def _net(settings: dict[str, Any]) -> dict[str, Any]:
    return dict(net_arch=[settings.pop("units")] * settings.pop("layers"), activation_fn=torch.nn.ReLU)


def _ppo(fields: dict[str, Any], settings: dict[str, Any], seed: int) -> tuple[Any, bool]:
    env = TetrisVecEnv(settings.pop("num_envs"), seed, fields)
    masked = env.games.config.action_mode == "locked_position"
    bias, net = settings.pop("binary_bias"), _net(settings)
    kind: Any = MaskablePPO if masked else PPO
    model = kind("MlpPolicy", env, seed=seed, policy_kwargs=net, device="cpu", **settings)
    if not masked:
        with torch.no_grad():
            model.policy.action_net.bias.copy_(torch.tensor(bias))
    return model, masked


def _dqn(fields: dict[str, Any], settings: dict[str, Any], seed: int, steps: int) -> Any:
    placing = fields["action_mode"] == "locked_position"
    env = TetrisVecEnv(settings.pop("num_envs"), seed, fields, None if placing else games.PRESSES)
    net, falling = _net(settings), settings.pop("exploration_steps")
    return VectorDQN(
        MaskedDQNPolicy if placing else "MlpPolicy",
        env,
        seed=seed,
        policy_kwargs=net,
        exploration_fraction=min(1.0, falling / steps),
        train_freq=1,
        device="cpu",
        **settings,
    )
