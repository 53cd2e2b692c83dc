"""Imagination in a counting world whose every number says which step it belongs to; and in the real RSSM."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamjax.algorithms import imagination
from dreamjax.algorithms.actions import make_policy
from dreamjax.algorithms.randomness import row_keys, step_keys
from dreamjax.config import ActorConfig
from dreamjax.types import ActionPart, ActionSpec, RSSMState
from tests.helpers import networks
from tests.helpers.batches import EVERY_ACTION
from tests.helpers.configs import vary
from tests.helpers.parameters import noise_like, random_params

H, N, C = 4, 6, 3
SPEC = ActionSpec((ActionPart("categorical", C, masked=True),))
ACTOR = ActorConfig()
GAMMA = 0.9


def clock(x):
    return x[..., :1]


def legal_classes(count):
    """Illegal at count n is class n mod 3."""
    return jnp.arange(C).reshape((1,) * (count.ndim - 1) + (C,)) != jnp.mod(count, C)


def counting_world():
    """State and feature ``[count, last action (one-hot)]``; each step adds 1 to the count."""

    def step(params, state, action, keys):
        return RSSMState(jnp.concatenate([clock(state.deter) + 1, action], -1), state.stoch), state.deter

    class_of = lambda feat: feat[..., 1:] @ jnp.arange(C, dtype=jnp.float32)
    return small_bundle(
        imagine=step,
        feat=lambda state: state.deter,
        # symlog means: the reward of arriving at count n by action a is 10 n + a
        reward=lambda p, feat: jnp.log1p(10 * clock(feat) + class_of(feat)[..., None]) + 0 * p,
        cont=lambda p, feat: jnp.log(GAMMA / 4 / (1 - GAMMA / 4)) + 0 * clock(feat)[..., 0] + 0 * p,
        mask=lambda p, feat: jnp.where(legal_classes(clock(feat)), 1.0, -1.0) + 0 * p,
    )


def small_bundle(**functions):
    from dreamjax.types import WorldModel

    fields = {name: functions.get(name) for name in WorldModel._fields}
    return WorldModel(**fields)


def policy_fn(theta):
    def policy(feat, mask):
        raw = jnp.broadcast_to(theta, (*feat.shape[:-1], C)) * (1 + clock(feat))
        return make_policy(SPEC, raw, mask, ACTOR), {"twice": 2 * clock(feat)}

    return policy


def rollout(theta, start, *, params=0.0, start_mask=None, cont_discount=True, world=None):
    return rollout_and_aux(
        theta, start, params=params, start_mask=start_mask, cont_discount=cont_discount, world=world
    )[0]


def rollout_and_aux(theta, start, *, params=0.0, start_mask=None, cont_discount=True, world=None):
    return imagination.imagine(
        world or counting_world(),
        params,
        policy_fn(theta),
        start,
        keys=jax.random.split(jax.random.key(0), N),
        row=jnp.arange(N) + 100,
        horizon=H,
        start_mask=start_mask,
        gamma=GAMMA,
        cont_discount=cont_discount,
    )


THETA = np.float32([0.1, 0.0, -0.1])
START = RSSMState(
    np.concatenate([np.arange(N, dtype=np.float32)[:, None], np.eye(C, dtype=np.float32)[np.arange(N) % C]], -1),
    np.zeros((N, 1, 1), np.float32),
)


def test_every_number_belongs_to_its_own_step():
    """Contracts 9, 19: feat[0] is the start's, feat[t+1] follows from action[t], reward[t] and mask[t] are those of
    feat[t], log_prob[t] is that of action[t] under the policy and the mask at feat[t]."""
    start_mask = np.ones((N, C), bool)
    start_mask[0] = [False, True, False]
    out, aux = jax.jit(lambda: rollout_and_aux(THETA, START, start_mask=start_mask))()
    count = np.arange(N)[:, None] + np.arange(H + 1)
    np.testing.assert_array_equal(out.feat[..., 0], count)
    np.testing.assert_array_equal(out.feat[:, 0], START.deter)
    np.testing.assert_array_equal(out.feat[:, 1:, 1:], out.action)
    taken = np.argmax(out.feat[..., 1:], -1)
    np.testing.assert_allclose(out.reward, 10 * count + taken, rtol=1e-4)
    np.testing.assert_array_equal(out.mask[:, 0], start_mask, err_msg="the start's mask is the real one")
    np.testing.assert_array_equal(out.mask[:, 1:], np.arange(C) != (count % C)[:, 1:, None])
    assert np.all(np.sum(out.mask[:, :-1] * out.action, -1) == 1), "an illegal action was taken"
    np.testing.assert_array_equal(aux["twice"], 2 * count[..., None] * (np.arange(H + 1) < H)[:, None])
    log_prob = jax.jit(lambda out: policy_fn(THETA)(out.feat[:, :-1], out.mask[:, :-1])[0].log_prob(out.action))(out)
    np.testing.assert_allclose(out.log_prob, log_prob, rtol=1e-5)
    np.testing.assert_array_equal(out.row, np.arange(N) + 100)


def test_without_a_start_mask_the_start_uses_the_predicted_one():
    """Contract 24."""
    out = jax.jit(lambda: rollout(THETA, START))()
    np.testing.assert_array_equal(out.mask[:, 0], np.arange(C) != (np.arange(N) % C)[:, None])


@pytest.mark.parametrize(("cont_discount", "cont"), [(True, 0.25), (False, 0.25 * GAMMA)])
def test_the_discount_is_divided_out_of_the_continuation(cont_discount, cont):
    """Contract 17: the head says g / 4; the discount is applied once, in the returns."""
    out = jax.jit(lambda: rollout(THETA, START, cont_discount=cont_discount))()
    np.testing.assert_allclose(out.cont, np.full((N, H + 1), cont), rtol=1e-5)


def test_a_continuation_is_not_cut_off_at_one():
    """The head's target is the discount: where it predicts a continuation of 1, ours is 1 over the discount."""
    world = counting_world()._replace(cont=lambda p, feat: 50.0 + 0 * feat[..., 0])
    np.testing.assert_allclose(jax.jit(lambda: rollout(THETA, START, world=world))().cont, 1 / GAMMA, rtol=1e-6)


def test_no_gradient_leaves_imagination():
    """Contract 20: not to the world model, not to the policy, not to the starts."""

    def total(theta, start, params):
        out = rollout(theta, start, params=params)
        return sum(jnp.sum(x) for x in (out.feat, out.action, out.log_prob, out.reward, out.cont))

    grads = jax.jit(jax.grad(total, (0, 1, 2)))(THETA, START, 0.5)
    assert not any(np.any(x) for x in jax.tree.leaves(grads))


# The real RSSM.


@pytest.fixture(scope="module", params=["categorical", "gaussian"])
def real(request, tiny_config):
    config = vary(tiny_config, model={"latent": request.param})
    world_model = networks.world_model(config, EVERY_ACTION)
    params = random_params(world_model.init)
    start = noise_like(jax.eval_shape(lambda: world_model.initial(N)))
    return world_model, params, start


def test_imagined_actions_replayed_through_the_prior_give_the_same_states(real):
    """Contract 9: imagining a recorded list of actions is teacher forcing through the prior, step by step; and with the
    same noise the rollout's own actions lead to the rollout's own features."""
    world_model, params, start = real
    spec, size = EVERY_ACTION.action, EVERY_ACTION.action.vector_size

    def noise_by_count(imagine):  # the same noise at every step, whoever calls
        return lambda p, s, a, keys: imagine(p, s, a, jax.random.split(jax.random.key(5), N))

    timeless = world_model._replace(imagine=noise_by_count(world_model.imagine))

    @jax.jit
    def both(params, start, key):
        raw = jnp.linspace(-1, 1, 9)
        policy = lambda feat, mask: (make_policy(spec, jnp.broadcast_to(raw, (N, 9)), mask, ACTOR), None)
        one, two = jax.random.split(key)
        out, nothing = imagination.imagine(
            timeless, params, policy, start, keys=row_keys(one, jnp.arange(N)), row=jnp.arange(N), horizon=H,
            gamma=GAMMA, cont_discount=True,
        )  # fmt: skip
        assert nothing is None
        states = imagination.imagine_actions(timeless, params, start, out.action, row_keys(two, jnp.arange(N)))
        return out, world_model.feat(states)

    out, feats = both(params, start, jax.random.key(0))
    assert out.action.shape == (N, H, size)
    np.testing.assert_allclose(out.feat[:, 1:], feats, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out.feat[:, 0], jax.jit(world_model.feat)(start), rtol=1e-6)


def test_open_loop_scan_equals_a_loop(real):
    """Contract 9: step t uses action[t] and the rows' keys of step t."""
    world_model, params, state = real
    actions = np.random.default_rng(0).normal(size=(N, H, EVERY_ACTION.action.vector_size)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), N)
    states = jax.jit(lambda *args: imagination.imagine_actions(world_model, *args))(params, state, actions, keys)
    step = jax.jit(lambda p, s, a, keys, t: world_model.imagine(p, s, a, step_keys(keys, t))[0])
    for t in range(H):
        state = step(params, state, actions[:, t], keys, t)
        chex.assert_trees_all_close(jax.tree.map(lambda x: x[:, t], states), state, rtol=1e-4, atol=1e-5)  # noqa: B023
