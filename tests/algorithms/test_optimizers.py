"""LaProp, clipping by tensor, warm-up and the slow critic against NumPy transcriptions of the published equations."""

import chex
import jax
import numpy as np
import optax
import pytest
from flax import traverse_util

from dreamjax.algorithms import optimizers
from dreamjax.algorithms.update.state import make_optimizers, moving_average
from dreamjax.config import EnsembleConfig, ExploreConfig, OptimizerConfig
from dreamjax.types import Tensors
from tests.helpers import networks
from tests.helpers.arrays import normal
from tests.helpers.batches import EVERY_ACTION

PLAIN = OptimizerConfig(agc=0.0, clip=0.0, warmup=0)


def run(config, params, grads, learning_rate=0.1):
    """Parameters after each gradient."""
    optimizer = optimizers.make_optimizer(config, learning_rate)
    step = jax.jit(optimizer.update)
    state, history = optimizer.init(params), []
    for grad in grads:
        changes, state = step(grad, state, params)
        params = jax.tree.map(np.asarray, optax.apply_updates(params, changes))
        history.append(params)
    return history


def laprop(w, grads, b1=0.9, b2=0.999, eps=1e-20, rate=0.1):
    """Ziyin et al. 2020, algorithm 1: nu = b2 nu + (1 - b2) g^2; m = b1 m + (1 - b1) g / (sqrt(nu / (1 - b2^t)) + eps);
    w -= rate m / (1 - b1^t)."""
    nu, m = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(grads, 1):
        nu = b2 * nu + (1 - b2) * g**2
        m = b1 * m + (1 - b1) * g / (np.sqrt(nu / (1 - b2**t)) + eps)
        w = w - rate * m / (1 - b1**t)
        yield w


def adam(w, grads, b1=0.9, b2=0.999, eps=1e-8, rate=0.1):
    """Kingma & Ba 2015, algorithm 1."""
    nu, m = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(grads, 1):
        m, nu = b1 * m + (1 - b1) * g, b2 * nu + (1 - b2) * g**2
        w = w - rate * (m / (1 - b1**t)) / (np.sqrt(nu / (1 - b2**t)) + eps)
        yield w


@pytest.mark.parametrize(
    ("config", "reference"),
    [
        (PLAIN, laprop),
        (OptimizerConfig(agc=0, warmup=0, eps=0.1, beta1=0.5, beta2=0.8),
         lambda w, g: laprop(w, g, b1=0.5, b2=0.8, eps=0.1)),
        (OptimizerConfig(kind="adam", agc=0, warmup=0, eps=1e-8), adam),
    ],
    ids=["laprop", "laprop_constants", "adam"],
)  # fmt: skip
def test_steps_against_numpy(config, reference):
    """Gradients that change size a hundredfold tell LaProp from Adam and every bias correction from its absence."""
    w, grads = normal(3, 4), [normal(3, 4, seed=i, scale=10.0 ** (i % 3)) for i in range(1, 6)]
    for got, expected in zip(run(config, {"w": w}, [{"w": g} for g in grads]), reference(w, grads), strict=True):
        np.testing.assert_allclose(got["w"], expected, rtol=1e-4, atol=1e-5)


def test_clipping_is_by_the_norm_of_the_whole_tensor():
    """Norm at most 0.3 max(1e-3, |w|): of the tensor, not of rows or of the tree; short gradients pass unchanged."""
    params = {"big": np.full((2, 2), 5.0, np.float32), "zero": np.zeros(4, np.float32), "calm": np.ones(4, np.float32)}
    grads = {
        "big": np.array([[300.0, 0], [0, 400]], np.float32),  # |w| = 10, |g| = 500 -> 3
        "zero": np.array([3.0, 0, 0, 4], np.float32),  # |w| = 0, |g| = 5 -> 0.3 * 1e-3
        "calm": np.full(4, 0.1, np.float32),  # |w| = 2, |g| = 0.2 < 0.6
    }
    clip = optimizers.clip_by_tensor(0.3)
    clipped, _ = clip.update(grads, clip.init(params), params)
    expected = {name: grads[name] * factor for name, factor in {"big": 3 / 500, "zero": 3e-4 / 5, "calm": 1}.items()}
    for name in params:
        np.testing.assert_allclose(clipped[name], expected[name], rtol=1e-5)


def test_clipping_by_tensors_that_are_not_arrays():
    """Two kernels that are one tensor share a norm; columns that are two tensors have one each."""
    params = {"a": {"kernel": np.float32([[3]])}, "b": {"kernel": np.float32([[4]])}, "out": np.float32([1, 2, 2])}
    grads = {
        "a": {"kernel": np.float32([[30]])},  # joined: |w| = 5, |g| = 50 -> 1.5
        "b": {"kernel": np.float32([[40]])},
        "out": np.float32([0.1, 6, 8]),  # one column: |w| = 1, |g| = 0.1; two: |w| = 8^0.5, |g| = 10
    }
    tensors = Tensors(joined=((("a", "kernel"), ("b", "kernel")),), columns=((("out",), (1, 2)),))
    clip = optimizers.clip_by_tensor(0.3, tensors=tensors)
    clipped, _ = jax.jit(clip.update)(grads, clip.init(params), params)
    shrunk = 0.3 * 8**0.5 / 10
    chex.assert_trees_all_close(
        clipped,
        {
            "a": {"kernel": np.float32([[0.9]])},
            "b": {"kernel": np.float32([[1.2]])},
            "out": np.float32([0.1, 6 * shrunk, 8 * shrunk]),
        },
        rtol=1e-5,
    )


def test_the_tensors_of_the_networks_are_in_their_parameters(tiny_config):
    """Every path is that of an array, and columns are all of it."""
    names = {"world_model": networks.world_model, "actor": networks.actor}
    for name, make in names.items():
        network = make(tiny_config, EVERY_ACTION)
        size = (networks.world_model(tiny_config, EVERY_ACTION).feat_size,) if name == "actor" else ()
        shapes = jax.eval_shape(lambda key, make=network.init, size=size: make(key, *size), jax.random.key(0))
        flat = traverse_util.flatten_dict(shapes)
        assert network.tensors != Tensors()
        assert all(path in flat for paths in network.tensors.joined for path in paths)
        for path, widths in network.tensors.columns:
            assert sum(widths) == flat[path].shape[-1]
    # 3 classes, 2 bits, 2 numbers with mean and deviation
    assert {widths for _, widths in networks.actor(tiny_config, EVERY_ACTION).tensors.columns} == {(3, 2, 2, 2)}


def test_the_optimizers_of_both_actors_clip_by_their_tensors():
    """Adam without memory and with a great epsilon moves by g / epsilon: of columns of |w| = 1 apart 0.3, else 0.3 |w|."""
    config = OptimizerConfig(kind="adam", warmup=0, beta1=0.0, beta2=0.0, eps=1e6, actor_lr=1e6, critic_lr=1e6)
    tensors = Tensors(columns=((("w",), (1, 1)),))
    made = make_optimizers(config, EnsembleConfig(), ExploreConfig(steps=1), {"actor": tensors})
    w, g = {"w": np.float32([1, 1])}, {"w": np.float32([0, 100])}
    for name, expected in (("actor", 0.3), ("explorer_actor", 0.3), ("critic", 0.3 * 2**0.5)):
        change, _ = jax.jit(made[name].update)(g, made[name].init(w), w)
        np.testing.assert_allclose(change["w"], [0, -expected], rtol=1e-4, err_msg=name)


def test_clipping_comes_before_the_normalization():
    """One huge gradient among small ones: LaProp sees it clipped to 0.3 |w|, so later steps keep their size."""
    w = normal(4)
    grads = [normal(4, seed=1), normal(4, seed=2, scale=1e6), normal(4, seed=3)]
    config = OptimizerConfig(agc=0.3, warmup=0)
    limit = lambda w, g: g * min(1, 0.3 * np.linalg.norm(w) / np.linalg.norm(g))
    got, clipped = run(config, {"w": w}, [{"w": g} for g in grads]), []
    for before, g in zip([w, *(x["w"] for x in got)], grads, strict=False):
        clipped.append(limit(before, g))
    np.testing.assert_allclose(got[-1]["w"], list(laprop(w, clipped))[-1], rtol=1e-4)


def test_clip_by_the_global_norm_where_configured():
    grads = {"a": np.float32([3, 0]), "b": np.float32([0, 4])}
    config = OptimizerConfig(kind="adam", agc=0, clip=0.5, warmup=0, eps=1.0, beta1=0.0, beta2=0.0)
    got = run(config, {"a": np.zeros(2, np.float32), "b": np.zeros(2, np.float32)}, [grads])[0]
    # Adam without memory moves by g / (|g| + 1): 0.3 / 1.3 and 0.4 / 1.4 after scaling by 0.5 / 5
    np.testing.assert_allclose(-got["a"][0] / 0.1, 0.3 / 1.3, rtol=1e-5)
    np.testing.assert_allclose(-got["b"][1] / 0.1, 0.4 / 1.4, rtol=1e-5)


def test_warm_up_rises_linearly_from_zero():
    config = OptimizerConfig(agc=0, warmup=4, beta1=0.0)
    w = np.zeros(1, np.float32)
    got = [x["w"][0] for x in run(config, {"w": w}, [{"w": np.ones(1, np.float32)}] * 6)]
    np.testing.assert_allclose(-np.diff([0, *got]), 0.1 * np.array([0, 0.25, 0.5, 0.75, 1, 1]), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(("warmup", "rates"), [(0, [0, 0, 1, 1, 1, 1]), (2, [0, 0, 0, 0.5, 1, 1])])
def test_the_actor_waits_and_then_warms_up(warmup, rates):
    config = OptimizerConfig(actor_lr=0.1, critic_lr=0.1, agc=0, warmup=warmup, actor_delay=2, beta1=0.0)
    made = make_optimizers(config, EnsembleConfig(), ExploreConfig(steps=1))
    gradient = {"w": np.ones(1, np.float32)}
    for name, expected in (("actor", rates), ("explorer_actor", rates), ("critic", rates[2:])):
        state, got = made[name].init(gradient), []
        for _ in expected:
            change, state = made[name].update(gradient, state)
            got.append(-change["w"][0])
        np.testing.assert_allclose(got, 0.1 * np.asarray(expected), rtol=1e-4, atol=1e-9)


def test_each_group_has_its_own_rate():
    config = OptimizerConfig(world_model_lr=0.1, actor_lr=0.2, critic_lr=0.3, agc=0, warmup=0)
    for name, rate in (("world_model", 0.1), ("actor", 0.2), ("critic", 0.3)):
        optimizer = make_optimizers(config, EnsembleConfig(), ExploreConfig())[name]
        changes, _ = optimizer.update({"w": np.float32([2, -2])}, optimizer.init({"w": np.float32([0, 0])}))
        np.testing.assert_allclose(changes["w"], [-rate, rate], rtol=1e-5)


def test_slow_critic_arithmetic():
    """Contract 26."""
    got = moving_average({"w": np.float32([0, 10])}, {"w": np.float32([1, 20])}, 0.02)
    np.testing.assert_allclose(got["w"], [0.02, 0.98 * 10 + 0.02 * 20], rtol=1e-6)
