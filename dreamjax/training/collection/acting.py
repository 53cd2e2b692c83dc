"""The compiled policies of a run: what collects, one step or several at a time, and what evaluates."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from dreamjax.agents.agent import Agent
from dreamjax.algorithms.planning.model import DisagreementWeights
from dreamjax.config import Config
from dreamjax.envs.adapter import Adapter
from dreamjax.training.collection.collector import Policy, acting_shapes, make_policy
from dreamjax.training.collection.compiled_collector import CompiledSteps
from dreamjax.training.runtime.background_compiler import BackgroundCompiler, Wait, log_compilation
from dreamjax.types import Params


class CollectingInputs(NamedTuple):
    """What a run with an explorer collects with: parameters, and in its phase the weights of disagreement."""

    params: Params
    disagreement: DisagreementWeights | None


class Acting(NamedTuple):
    """The policies that collect and evaluate, one where both act alike; and ``schedule.steps_per_call`` steps in one call,
    where there are several."""

    collect: Policy
    evaluate: Policy
    steps: CompiledSteps | None


def acts_by(config: Config, when: Literal["collect", "evaluate"]) -> str:
    """Who acts in a run then: the "planner", or the actor's "policy"."""
    return "planner" if getattr(config.planner, when) else "policy"


def policy_by(agent: Agent, name: str, *, exploring: bool = False) -> Policy:
    """One of ``agent``'s ways to act, compiled: by "planner" or by "policy".

    Args:
        exploring: it is called with ``CollectingInputs`` in the place of parameters.
    """
    fn = agent.policy if name == "policy" else agent.planner_policy

    def explore(inputs: CollectingInputs, *args: Any, **kwargs: Any) -> Any:
        return fn(inputs.params, *args, disagreement=inputs.disagreement, **kwargs)

    return make_policy(explore if exploring else fn, agent.initial_carry)


def make_acting(agent: Agent, config: Config, env: Adapter | None, params: Any, compiler: BackgroundCompiler) -> Acting:
    """Builds the policies of a run; the one that collects starts to compile, for ``params`` of these shapes.

    Args:
        params: what the collector acts with: parameters, or ``CollectingInputs`` where there is an explorer.
        env: None where nothing is collected.

    Raises:
        ConfigError: several steps in one call are asked for of environments that cannot take them.
    """

    def logged(policy: Policy, wait: Wait | None = None) -> Policy:
        return policy._replace(act=log_compilation("the policy", policy.act, wait))

    by_collecting, by_evaluating = acts_by(config, "collect"), acts_by(config, "evaluate")
    exploring = config.explore.steps > 0
    policy, wait, steps = policy_by(agent, by_collecting, exploring=exploring), None, None
    if env is not None and config.schedule.steps_per_call > 1:
        steps = CompiledSteps(
            policy,
            env,
            num_steps=config.schedule.steps_per_call,
            counted=config.num_envs,
            keep_latents=config.replay.keep_latents,
        )
        scan_wait = compiler.submit(steps.scan, *steps.shapes(params))
        name = f"{config.schedule.steps_per_call} steps of policy and engine"
        steps.scan = log_compilation(name, steps.scan, scan_wait)
    elif env is not None:
        wait = compiler.submit(policy.act, *acting_shapes(policy, params, env.spec, env.num_envs), greedy=False)
    collect = logged(policy, wait)
    same = by_evaluating == by_collecting and not exploring
    return Acting(collect, collect if same else logged(policy_by(agent, by_evaluating)), steps)
