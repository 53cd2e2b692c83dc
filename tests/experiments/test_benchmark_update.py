"""The benchmark's arithmetic against a count of every matrix product in the traced update."""

import math

import jax
import pytest
from jax.interpreters.partial_eval import dce_jaxpr

from dreamjax.agents.agent import dummy_batch, make_agent
from dreamjax.config import from_dict, merge
from dreamjax.config.presets import size
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec
from experiments.benchmarks import startup as benchmark_startup
from experiments.benchmarks.update import update_gflop

OBS, ACTIONS = 200, 8


def products(jaxpr):
    """Multiplications and additions of the matrix products of a traced function, scans as often as they run."""
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            ((contracted, _), _) = eqn.params["dimension_numbers"]
            left = eqn.invars[0].aval.shape
            total += 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)
        times = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                total += times * products(inner)
    return total


@pytest.mark.parametrize(
    ("changes", "plain"),
    [
        ({}, False),
        ({"horizon": 4, "batch_length": 7, "actor": {"layers": 2}}, False),
        ({"critic": {"replay_scale": 0.0}}, False),
        # Rollouts of the ring teach actors that did not make them: nothing is known, as in the plain update.
        ({"imagination": {"use_ring": True, "capacity": 15 * 1024}}, True),
    ],
    ids=["1m", "other", "no replayed values", "plain"],
)
def test_gflop_by_hand_is_the_count_of_the_traced_products(changes, plain):
    config = from_dict(merge(size("1m"), changes))
    spec = EnvSpec(
        {"observation": ObsSpec("vector", (OBS,), "float32")}, ActionSpec((ActionPart("categorical", ACTIONS),))
    )
    agent = make_agent(config, spec)
    state = jax.eval_shape(agent.init, jax.random.key(0))
    batch = dummy_batch(spec, config.batch_size, config.batch_length)
    traced = jax.make_jaxpr(agent.update)(state, batch).jaxpr
    used, _ = dce_jaxpr(traced, [True] * len(traced.outvars))  # gradients that nobody asks for are not computed
    counted = products(used) / 1e9
    assert counted == pytest.approx(update_gflop(config, OBS, ACTIONS), rel=0.005)
    plainly = update_gflop(from_dict(merge(size("1m"), changes | {"imagination": {}})), OBS, ACTIONS, plain=True)
    assert (counted == pytest.approx(plainly, rel=0.005)) == plain


def test_a_run_has_begun_to_learn_when_its_metrics_say_so(tmp_path):
    file = tmp_path / "metrics.jsonl"
    assert not benchmark_startup._updates(file)
    file.write_text('{"step": 8, "update": 0}\n')
    assert not benchmark_startup._updates(file)
    file.write_text('{"step": 8, "update": 0}\n{"step": 16, "update": 1}\n{"step": 1')
    assert benchmark_startup._updates(file)
