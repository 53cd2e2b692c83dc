"""The evaluations of a run: where they are played, and what happens where that fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from dreamjax.config import Config
from dreamjax.envs.adapter import Adapter
from dreamjax.seeds import evaluation_seed
from dreamjax.training.collection.collector import Environments, Policy
from dreamjax.training.evaluation.evaluator import evaluate, raised_by_environment
from dreamjax.types import Params

LOG = logging.getLogger(__name__)
Result = dict[str, dict[str, Any]]


class Evaluations:
    """Plays the evaluations of a run, each by the same seed.

    Where their environments fail, the run goes on without evaluations: what it has learned does not depend on them, and
    ``dreamjax evaluate`` can measure its checkpoints.

    Args:
        config: of the run. policy: compiled, what is evaluated.
        open_env: ``(num_envs, seed) -> Adapter``, makes environments of their own.
        lend: lends the training environments; for ``eval.in_training_env``.
        num_envs: of the training environments in this process.
        should_stop: called after each step.

    Attributes:
        env: the environments of their own, made at the first evaluation.
    """

    def __init__(
        self,
        config: Config,
        policy: Policy,
        *,
        open_env: Callable[[int, int], Adapter],
        lend: Callable[[], AbstractContextManager[Environments]],
        num_envs: int,
        should_stop: Callable[[], bool],
    ) -> None:
        self._config, self._policy, self._num_envs = config, policy, num_envs
        self._open, self._lend, self._should_stop = open_env, lend, should_stop
        self.env: Adapter | None = None

    def play(self, params: Params) -> Result | None:
        """What ``evaluate`` returns; None where it was stopped, empty where the environments failed (a warning says so)."""
        config = self._config.eval
        LOG.info(f"evaluating {config.episodes} episodes ...")
        if config.in_training_env:
            with self._lend() as lent:
                return self._play(params, lent, self._num_envs)
        num_envs = min(config.num_envs, config.episodes)
        try:
            if self.env is None:
                self.env = self._open(num_envs, evaluation_seed(self._config.seed))
            return self._play(params, self.env, num_envs)
        except Exception as error:
            if not raised_by_environment(error):
                raise
            LOG.warning(
                f"the evaluation failed: {type(error).__name__}: {error}. The run goes on without evaluations. Where the "
                "environment allows one instance only, eval.in_training_env=true plays in the training environments, and "
                "eval.episodes=0 leaves evaluations out"
            )
            return {}

    def _play(self, params: Params, env: Environments, num_envs: int) -> Result | None:
        config = self._config.eval
        return evaluate(
            self._policy,
            params,
            env,
            num_envs=num_envs,
            episodes=config.episodes,
            greedy=config.greedy,
            seed=evaluation_seed(self._config.seed),
            max_length=config.max_length,
            should_stop=self._should_stop,
        )

    def close(self) -> None:
        """Closes the environments."""
        if self.env is not None:
            self.env.close()
