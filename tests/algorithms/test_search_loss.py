"""What actor and critic learn from searched states: at which steps, instead of imagination or beside it, on devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small

from dreamjax.agents.agent import make_agent
from dreamjax.algorithms import update as update_lib
from dreamjax.algorithms.search import tree_backup
from dreamjax.algorithms.search_loss import last_states, search_loss, search_targets
from dreamjax.types import RSSMState

SEARCHED = {
    "train/loss/actor_search", "train/loss/critic_search", "search/value", "search/target", "search/value_error",
    "search/agreement", "search/model_bias",
}  # fmt: skip
jit = functools.partial(jax.jit, compiler_options=small.QUICK)


@pytest.mark.parametrize("method", ["one_step", "tree"])
def test_targets_and_the_steps_that_are_learned_from(learner, method):
    """Every candidate is tried, the taken one first; values are the tree backup of the search; no step that ends an
    episode, after which nothing is done, teaches anything."""
    x = learner("searcher")
    config = small.vary(x.config, search={"method": method, "simulations": 5})
    state, batch, search = x.state(), x.batch, config.search
    latents = jax.tree.map(lambda leaf: jnp.stack([leaf] * 6, 1), x.networks.world_model.initial(4))
    latents = jax.tree.map(jnp.asarray, small.noise_like(latents))

    @jit
    def run(state, latents):
        targets = search_targets(
            x.networks, config, x.spec, state.params, state.slow_critic, batch, latents, jax.random.key(0)
        )
        ends = jnp.asarray(batch.is_last, jnp.float32)
        trained = state.params["actor"], state.params["critic"]

        def loss(value_noise, weight_noise):
            weight = targets.found.weight + weight_noise.reshape(-1, 1)
            changed = targets._replace(value=targets.value + value_noise, found=targets.found._replace(weight=weight))
            return search_loss(trained, state.slow_critic, x.networks, config, x.spec, batch, changed)[0]

        noises = [(0 * ends, 0 * ends), (ends, ends), (1 - ends, 0 * ends), (0 * ends, 1 - ends)]
        backup = tree_backup(
            targets.found.value.reshape(4, 6), targets.found.q[:, 0].reshape(4, 6),
            jnp.maximum(targets.found.weight[:, 0], search.trace).reshape(4, 6),
            batch.reward, batch.is_last, batch.is_terminal, gamma=config.loss.gamma, lam=config.loss.lam,
        )  # fmt: skip
        return targets, backup, [loss(*noise) for noise in noises]

    targets, backup, (plain, at_ends, values, weights) = run(state, latents)
    assert targets.tried.action.shape == (24, 12, 5)
    record = batch.action.reshape(24, 3)
    taken = np.concatenate([np.eye(3)[record[:, 0]], record[:, 1:]], -1)
    np.testing.assert_array_equal(targets.tried.action[:, 0], taken)
    legal = np.take_along_axis(batch.obs["action_mask"].reshape(24, 3), np.argmax(targets.tried.action[..., :3], -1), 1)
    np.testing.assert_array_equal(targets.tried.legal, legal > 0)
    np.testing.assert_allclose(targets.value, backup, rtol=1e-5)
    np.testing.assert_allclose(targets.found.weight.sum(1), 1, rtol=1e-5)
    assert not np.any(np.asarray(targets.found.weight)[legal == 0])
    # JAX 0.12 rounds the last bit of two programs otherwise.
    np.testing.assert_allclose(plain, at_ends, rtol=0 if jax.__version_info__ < (0, 11) else 1e-6)
    assert abs(values - plain) > 1e-3 and abs(weights - plain) > 1e-3


def test_the_last_states_of_windows(learner):
    x = learner("searcher")
    state = RSSMState(jnp.arange(24.0).reshape(4, 6, 1), jnp.zeros((4, 6, 1, 1)))
    batch, cut = last_states(x.batch, state, 2)
    np.testing.assert_array_equal(batch.reward, x.batch.reward[:, 4:])
    np.testing.assert_array_equal(batch.obs["action_mask"], x.batch.obs["action_mask"][:, 4:])
    np.testing.assert_array_equal(cut.deter[..., 0], [[4, 5], [10, 11], [16, 17], [22, 23]])
    np.testing.assert_array_equal(batch.row, x.batch.row)
    assert last_states(x.batch, state, 0)[0] is x.batch


def test_a_search_replaces_imagination_or_is_added_to_it(learner, monkeypatch):
    """By plain gradient descent at rate 1 parameters move by their gradients: those of both add up."""
    x = learner("searcher")
    start = x.state()
    descent = {name: optax.sgd(1.0) for name in ("world_model", "actor", "critic")}
    monkeypatch.setattr(update_lib, "make_optimisers", lambda *_, **__: descent)
    agents = {
        mode: make_agent(small.vary(x.config, search={"learn": mode, "last": 2}), x.spec)
        for mode in ("off", "replace", "add")
    }
    state = start.replace(opt_state={name: fn.init(start.params[name]) for name, fn in descent.items()})
    run = jit(lambda state: {mode: agent.update_actor_critic(state, x.batch) for mode, agent in agents.items()})
    results = run(state)
    moved = {
        mode: jax.tree.map(lambda new, old: np.asarray(new - old), after.params, state.params)
        for mode, (after, _, _) in results.items()
    }
    for name in ("actor", "critic"):
        for off, replaced, added in zip(*(jax.tree.leaves(moved[m][name]) for m in agents), strict=True):
            scale = max(np.abs(off).max(), np.abs(replaced).max())
            np.testing.assert_allclose(added, off + replaced, rtol=1e-3, atol=1e-5 * scale)
        assert all(optax.tree.norm(moved[mode][name]) > 1e-3 for mode in ("off", "replace"))
    off, replaced, added = (set(results[mode][1]) for mode in agents)
    assert replaced >= SEARCHED and not any("imagination/value" in name for name in replaced)
    assert added == off | SEARCHED
    assert not off & SEARCHED
    # The errors of the two steps that are searched join the priorities of those steps, the last ones.
    error = results["add"][2].priority - results["off"][2].priority
    np.testing.assert_allclose(error[:, :-2], 0, atol=1e-5)
    np.testing.assert_allclose(error[:, -2:].mean(), results["add"][1]["search/value_error"], rtol=1e-3)
    assert error[:, -2:].min() > -1e-5 and (error[:, -2:] > 1e-3).sum(0).min() >= 2
    assert all(np.isfinite(value) for _, metrics, _ in results.values() for value in metrics.values())


def test_devices_give_the_same_update_by_search(learner):
    """Contract 28, for the search that replaces imagination."""
    x = learner("searcher")
    shares = jax.tree.map(lambda leaf: leaf.reshape(2, 2, *leaf.shape[1:]), x.batch)
    fn = functools.partial(x.agent.update_actor_critic, axis_name="device")
    several = jax.vmap(fn, in_axes=(None, 0), axis_name="device")
    one, two = jit(lambda state: (x.agent.update_actor_critic(state, x.batch), several(state, shares)))(x.state())
    for device in range(2):
        for name in ("params", "opt_state", "slow_critic"):
            for a, b in zip(*(jax.tree.leaves(getattr(y[0], name)) for y in (one, two)), strict=True):
                np.testing.assert_allclose(a, b[device], rtol=2e-3, atol=2e-5)
        for name, value in one[1].items():
            np.testing.assert_allclose(value, two[1][name][device], rtol=5e-3, atol=1e-4, err_msg=name)
    for a, b in zip(jax.tree.leaves(one[2]), jax.tree.leaves(two[2]), strict=True):
        np.testing.assert_allclose(a, b.reshape(a.shape), rtol=5e-3, atol=1e-4)
