"""Figures of what the model predicts, on a model whose predictions are known."""

import jax
import jax.numpy as jnp
import numpy as np

from dreamjax.agents.open_loop import make_open_loop
from dreamjax.models.ensemble import Ensemble
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec, RSSMState, WorldModel
from tests.helpers.batches import random_batch


def test_open_loop_tells_disagreement_beside_what_really_came():
    """A model whose state is the observation and which adds the action; members that add it times 1, 2 and 3."""
    spec = EnvSpec(
        {"x": ObsSpec("vector", (2,), "float32")}, ActionSpec((ActionPart("continuous", 2, low=(-1.0,), high=(1.0,)),))
    )
    state = lambda x: RSSMState(deter=x, stoch=jnp.zeros((*x.shape[:-1], 1, 1)))
    unused = lambda *args: None
    world_model = WorldModel(
        init=unused, initial=lambda size: state(jnp.zeros((size, 2))), embed=lambda params, obs: obs["x"],
        observe=lambda params, state_, action, embed, first, keys, effect=None: (state(embed), embed),
        imagine=lambda params, state_, action, keys: (state(state_.deter + action), action),
        prior_logit=unused, kl=unused, feat=lambda state_: state_.deter, decode=lambda params, feat: {"x": feat},
        predict=lambda params, before, action, after: {"x": after.deter}, reward=unused, cont=unused, mask=None,
        entropy=unused, feat_size=2,
    )  # fmt: skip
    ensemble = Ensemble(
        init=unused,
        apply=lambda w, feat, action: jnp.stack([feat + k * action for k in w]),
        target=lambda before, after: after.deter,
    )
    batch = random_batch(spec, batch=2, length=4)
    params = {"world_model": {}, "ensemble": (1.0, 2.0, 3.0)}
    result = make_open_loop(world_model, spec, ensemble, symlog=False)(params, batch, jax.random.key(0), context=2)
    x, a = batch.obs["x"], batch.action[:, :-1]
    np.testing.assert_allclose(result["disagreement"], np.mean(a**2 * 2 / 3, -1), rtol=1e-5)
    np.testing.assert_allclose(result["error_members"], np.sum((x[:, :-1] + 2 * a - x[:, 1:]) ** 2, -1), rtol=1e-5)
    np.testing.assert_allclose(result["error_world_model"], np.sum((x[:, :-1] + a - x[:, 1:]) ** 2, -1), rtol=1e-5)
    without = make_open_loop(world_model, spec, ensemble, symlog=False)(
        {"world_model": {}}, batch, jax.random.key(0), context=2
    )
    assert set(without) == {"real", "dream", "next", "valid"}  # a shipped agent has no ensemble
