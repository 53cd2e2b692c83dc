"""The compiled policies of a run: what collects, one step or several at a time, and what evaluates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from dreamjax.agents.agent import Agent
from dreamjax.config import Config
from dreamjax.envs.adapter import Adapter
from dreamjax.training.announce import announced
from dreamjax.training.collection.collector import Policy, acting_shapes, make_policy
from dreamjax.training.collection.compiled_collector import CompiledSteps
from dreamjax.training.runtime.background_compiler import Ahead


class Acting(NamedTuple):
    """Of collecting and of evaluating: one policy, where both act in one way; and ``schedule.steps_per_call`` steps in
    one call, where there are several."""

    collect: Policy
    evaluate: Policy
    steps: CompiledSteps | None


def acts_by(config: Config, when: Literal["collect", "evaluate"]) -> str:
    """Who acts in a run then: "search", "planner", or the actor's "policy"."""
    return next((name for name in ("search", "planner") if getattr(getattr(config, name), when)), "policy")


def policy_by(agent: Agent, name: str) -> Policy:
    """One of ``agent``'s ways to act, compiled: by "search", where it is configured, by "planner" or by "policy"."""
    fn = getattr(agent, "policy" if name == "policy" else f"{name}_policy")
    assert fn is not None
    return make_policy(fn, agent.initial_carry)


def make_acting(
    agent: Agent, config: Config, env: Adapter | None, params: Any, ahead: Ahead, *, say: Callable[[str], None]
) -> Acting:
    """Builds them; what collects is compiled ahead, for ``params`` of these shapes.

    Args:
        env: None where nothing is collected. say: told what is compiled.

    Raises:
        ConfigError: several steps in one call are asked for of environments that cannot take them.
    """

    def told(policy: Policy, ready: Any = None) -> Policy:
        return policy._replace(act=announced("the policy", policy.act, say, ready))

    by_collecting, by_evaluating = acts_by(config, "collect"), acts_by(config, "evaluate")
    policy, ready, steps = policy_by(agent, by_collecting), None, None
    if env is not None and config.schedule.steps_per_call > 1:
        steps = CompiledSteps(
            policy,
            env,
            num_steps=config.schedule.steps_per_call,
            counted=config.num_envs,
            keep_latents=config.replay.keep_latents,
        )
        scan_ready = ahead.begin(steps.scan, *steps.shapes(params))
        steps.scan = announced(
            f"{config.schedule.steps_per_call} steps of policy and engine", steps.scan, say, scan_ready
        )
    elif env is not None:
        ready = ahead.begin(policy.act, *acting_shapes(policy, params, env.spec, env.num_envs), greedy=False)
    collect = told(policy, ready)
    return Acting(collect, collect if by_evaluating == by_collecting else told(policy_by(agent, by_evaluating)), steps)
