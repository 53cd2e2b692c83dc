"""A head applied from recorded activations against the head itself."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.models.fast.activations import apply_recorded, record
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec
from tests.helpers import networks
from tests.helpers.batches import EVERY_ACTION
from tests.helpers.configs import vary
from tests.helpers.jaxprs import matrix_products
from tests.helpers.parameters import random_params

RNG = np.random.default_rng(0)
BUTTONS = EnvSpec({"board": ObsSpec("grid", (2, 6, 4), "uint8", classes=2)}, ActionSpec((ActionPart("binary", 8),)))
CELLS = EnvSpec(
    {"board": ObsSpec("grid", (1, 6, 4), "uint8", classes=2), "action_mask": ObsSpec("mask", (24,), "int8")},
    ActionSpec((ActionPart("categorical", 24, masked=True),)),
)
HEADS = {
    "vector": (networks.actor, {}, EVERY_ACTION),
    "biased": (networks.actor, {"actor": {"binary_bias": (1.0,) * 8}}, BUTTONS),
    "critic": (networks.critic, {}, EVERY_ACTION),
    "buttons": (networks.actor, {"model": {"kind": "grid", "stoch": 2, "classes": 2}}, BUTTONS),
    "cells": (networks.actor, {"model": {"kind": "grid", "stoch": 2, "classes": 2, "edit_radius": 2}}, CELLS),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_recorded_head_is_the_same_head(tiny_config, name):
    """Recorded step by step, applied to all steps at once: the same outputs and gradients, forward without a product."""
    make, overrides, spec = HEADS[name]
    config = vary(tiny_config, **overrides)
    head, size = make(config, spec), networks.world_model(config, spec).feat_size
    params = random_params(lambda key: head.init(key, size))
    feat = RNG.normal(size=(3, 2, size)).astype(np.float32)

    def loss(params, activations):
        outputs = apply_recorded(head, params, feat, activations)
        return jnp.sum(jnp.square(outputs)), outputs

    @jax.jit
    def both(params):
        stepwise = [record(head, params, feat[:, t]) for t in range(2)]
        activations = jax.tree.map(lambda *x: jnp.stack(x, 1), *(made for _, made in stepwise))
        recorded = jnp.stack([outputs for outputs, _ in stepwise], 1)
        fn = jax.grad(loss, has_aux=True)
        return recorded, activations, fn(params, activations), fn(params, None)

    recorded, activations, applied, plain = both(params)
    np.testing.assert_allclose(recorded, plain[1], rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(applied, plain, rtol=1e-3, atol=1e-4)
    plainly = list(matrix_products(jax.make_jaxpr(head.apply)(params, feat).jaxpr))
    assert len(plainly) >= len(jax.tree.leaves(activations)) > 0
    again = jax.make_jaxpr(lambda params, activations: apply_recorded(head, params, feat, activations))(
        params, activations
    )
    assert not list(matrix_products(again.jaxpr))
