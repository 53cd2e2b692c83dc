"""The ensemble of one-step predictors: members of their own, and what they predict of either world model."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.models.ensemble import GridPredictor
from dreamjax.models.grid import pointer
from dreamjax.models.grid.layout import grid_layout
from dreamjax.models.nets import MLP
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, RSSMState
from tests.helpers import networks
from tests.helpers.batches import make_tiny_spec
from tests.helpers.configs import vary
from tests.helpers.parameters import random_params
from tests.helpers.xla import QUICK

SPEC = make_tiny_spec()  # a board of 24 cells, a vector of 5, 3 bits


def make(tiny_config, **model):
    return networks.ensemble(vary(tiny_config, ensemble={"size": 3, "units": 8, "layers": 1}, model=model), SPEC)


def test_members_are_networks_of_their_own(tiny_config):
    """Each gives what an MLP with its part of the parameters gives; at the start all differ."""
    ensemble = make(tiny_config)
    init = jax.jit(ensemble.init, static_argnums=1, compiler_options=QUICK)
    params = init(jax.random.key(0), 32)
    rng = np.random.default_rng(0)
    feat, action = rng.normal(size=(2, 4, 32)).astype(np.float32), rng.normal(size=(2, 4, 3)).astype(np.float32)
    together = ensemble.apply(params, feat, action)
    assert together.shape == (3, 2, 4, 16)
    assert together.dtype == jnp.float32
    single = MLP(1, 8, 16)
    for k in range(3):
        member = jax.tree.map(lambda x, k=k: x[k], params)
        alone = single.apply({"params": member["MLP_0"]}, np.concatenate([feat, action], -1))
        np.testing.assert_allclose(together[k], alone, rtol=1e-5, atol=1e-6)
    assert np.all(np.var(together, 0) > 0)


def test_the_vector_models_target_is_the_next_latent(tiny_config):
    rng = np.random.default_rng(0)
    states = [RSSMState(deter=rng.normal(size=(2, 16)), stoch=np.eye(4)[rng.integers(0, 4, (2, 4))]) for _ in range(2)]
    target = make(tiny_config).target(*states)
    np.testing.assert_array_equal(target, states[1].stoch.reshape(2, 16))


def test_the_grid_models_target_is_what_changes_on_the_board(tiny_config):
    """Cells and vector entries, not the memory nor the latents; nothing where nothing changed."""
    config = vary(tiny_config, ensemble={"size": 3}, model={"kind": "grid"})
    ensemble, initial = networks.ensemble(config, SPEC), networks.world_model(config, SPEC).initial(1)
    before = RSSMState(deter=np.random.default_rng(0).random((1, 24 + 5 + 32)), stoch=initial.stoch)
    assert before.deter.shape == initial.deter.shape
    after = before.replace(deter=before.deter.copy(), stoch=before.stoch + 1)
    after.deter[0, [7, 26, 40]] += [0.5, 2.0, 3.0]  # a cell, an entry of the vector, memory
    expected = np.zeros((1, 29))
    expected[0, [7, 26]] = 0.5, 2.0
    np.testing.assert_allclose(ensemble.target(before, after), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["rssm", "grid"])
def test_no_gradient_flows_through_the_target(tiny_config, kind):
    config = vary(tiny_config, ensemble={"size": 3}, model={"kind": kind})
    ensemble, state = networks.ensemble(config, SPEC), networks.world_model(config, SPEC).initial(2)
    grads = jax.grad(lambda a, b: jnp.sum(ensemble.target(a, b) ** 2 + ensemble.target(a, b)), (0, 1))(
        state, jax.tree.map(lambda x: x + 1, state)
    )
    assert all(np.all(grad == 0) for grad in jax.tree.leaves(grads))


def test_members_for_a_board_work_around_the_place_of_the_action(tiny_config, monkeypatch):
    """Where an action names a cell, cells beyond the reach of the edit stay as they are, whatever the parameters, as long
    as no row moves; single members give what the vectorised ones give."""
    spec = EnvSpec(SPEC.obs, ActionSpec((ActionPart("categorical", 24),)))
    config = vary(tiny_config, ensemble={"size": 3, "units": 8, "layers": 1}, model={"kind": "grid", "edit_radius": 1})
    ensemble, state = networks.ensemble(config, spec), networks.world_model(config, spec).initial(2)
    rng = np.random.default_rng(0)
    feat = rng.normal(size=(2, state.deter.shape[-1] + 16)).astype(np.float32)
    feat[:, :24] = rng.integers(0, 2, (2, 24))
    action = np.eye(24, dtype=np.float32)[[2 * 4 + 0, 4 * 4 + 1]]
    params = random_params(lambda key: ensemble.init(key, feat.shape[-1]))
    monkeypatch.setattr(pointer, "SCORE", 1e9)
    params["RowPointer_0"]["score"]["bias"] = np.tile(np.float32([5e3, 0, 0, 0, 0]), (3, 1))
    params["RowPointer_0"]["blank"]["bias"] = np.full((3, 1), -5e3, np.float32)
    params["keep"] = np.full_like(params["keep"], 30)
    predicted = jax.jit(ensemble.apply, compiler_options=QUICK)(params, feat, action)
    assert predicted.shape == (3, 2, 24 + 5)
    far = np.array([[row not in (1, 2, 3) for row in range(6)], [row not in (3, 4, 5) for row in range(6)]])
    changes = np.abs(np.asarray(predicted[..., :24])).reshape(3, 2, 6, 4)
    assert changes.max() <= 1
    for i in range(2):
        assert changes[:, i, far[i]].max() < 1e-6
    single = GridPredictor(grid_layout(config.model, spec), 8, 1, 1, "silu", config.model.norm, jnp.float32)
    alone = jax.jit(single.apply, compiler_options=QUICK)
    member = jax.tree.map(lambda x: x[1], params)
    np.testing.assert_allclose(predicted[1], alone({"params": member}, feat, action), rtol=1e-5, atol=1e-5)
