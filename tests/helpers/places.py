"""A world model without parameters whose states are numbered places, for tests of planners."""

import jax.numpy as jnp
import numpy as np

from dreamjax.algorithms.planning.model import DisagreementWeights
from dreamjax.models.ensemble import Ensemble
from dreamjax.models.heads import Head, Networks
from dreamjax.types import ActionPart, ActionSpec, EnvSpec, ObsSpec, RSSMState, WorldModel

SPEC = EnvSpec(
    obs={"action_mask": ObsSpec("mask", (3,), "int8"), "vector": ObsSpec("vector", (1,), "float32")},
    action=ActionSpec((ActionPart("categorical", 3, masked=True),)),
)
# Two steps: class i leads to place 1 + i, from there class j to place 4 + 3 i + j, where all ends. By place: what arriving
# pays, and which classes are legal. Class 2 pays at once, class 1 (with 0 after it) in the end; class 0 would pay most, but
# is illegal in truth.
PAYS = np.array([0, 5, 0, 1, 9, 9, 9, 3, 0, 9, 0, 0, 0.5], np.float32)
MODEL_LEGAL = np.ones((13, 3), bool)
MODEL_LEGAL[2, 2] = False  # what would lead to the 9 at place 9
NO_PARAMS = {name: {} for name in ("world_model", "actor", "critic")}
REAL_LEGAL = np.array([[0, 1, 1]], np.int8)


def networks_of(world_model):
    """Actor and critic without parameters: every class alike, every value 0."""
    nothing = lambda size: Head(lambda key, feat: {}, lambda params, feat: jnp.zeros((*feat.shape[:-1], size)))
    return Networks(world_model, nothing(3), nothing(1))


def place_model(**others):
    def imagine(params, state, action, keys):
        following = jnp.minimum(3 * state.deter[:, 0] + 1 + jnp.argmax(action, -1), 12)
        return RSSMState(following[:, None], state.stoch), state.stoch

    place = lambda feat: feat[..., 0].astype(jnp.int32)
    fields = dict.fromkeys(WorldModel._fields, lambda *_: None) | dict(
        initial=lambda count: RSSMState(jnp.zeros((count, 1)), jnp.zeros((count, 1, 1))),
        embed=lambda params, obs: obs["vector"],
        observe=lambda params, state, action, embed, is_first, keys: (RSSMState(embed, state.stoch), state.stoch),
        imagine=imagine,
        feat=lambda state: state.deter,
        reward=lambda params, feat: jnp.log1p(jnp.asarray(PAYS))[place(feat)][..., None],
        cont=lambda params, feat: jnp.where(place(feat) >= 4, -50.0, 50.0),
        mask=lambda params, feat: 2.0 * jnp.asarray(MODEL_LEGAL)[place(feat)] - 1,
    )
    return WorldModel(**fields | others | {"feat_size": 1, "fast": None, "needs_previous": False})


def unsure_networks():
    """Members that say 0 and 4 of the one feature after class 1, a variance of 4, and agree about the others."""
    predictions = lambda params, feat, action: jnp.stack([feat[:, :1] * 0, feat[:, :1] * 0 + 4 * action[:, 1:2]])
    return networks_of(place_model())._replace(ensemble=Ensemble(None, predictions, None))


def weights_of(intrinsic, extrinsic):
    """Weights of disagreement in units of 8."""
    return DisagreementWeights(*map(jnp.float32, (8, intrinsic, extrinsic)))
