from tests.mutants import Mutant

TESTS = "tests/models/test_rssm.py"

MUTANTS = [
    Mutant("gru_update_bias", "_gated", "update - 1", "update"),
    Mutant(
        "rssm_without_unimix",
        "RSSM._logit",
        "latents.unimix_logit(shaped, config.unimix)",
        "latents.unimix_logit(shaped, 0.0)",
    ),
    Mutant(
        "posterior_fan_in_by_part",  # difference 2
        "RSSM.setup",
        "fan_in=config.deter + self.tokens",
        "fan_in=None",
        tests="tests/conformance/test_networks.py::test_initial_scales",
    ),
    Mutant(
        "posterior_blind", "RSSM.post_logit", "self.post_deter(deter) + embed", "self.post_deter(deter) + 0 * embed"
    ),
    Mutant(
        "action_scale_with_gradient",
        "RSSM.transition",
        "jax.lax.stop_gradient(jnp.maximum(1.0, jnp.abs(action)))",
        "jnp.maximum(1.0, jnp.abs(action))",
    ),
    Mutant(
        "reset_keeps_the_action",
        "reset_where",
        "jax.tree.map(clear, (state, action))",
        "jax.tree.map(clear, state), action",
        tests="tests/models/test_world_model.py",
    ),
    Mutant(
        "reset_clears_every_row",
        "reset_where",
        "jnp.where(first, jnp.zeros_like(x), x)",
        "jnp.where(jnp.any(first), jnp.zeros_like(x), x)",
        tests="tests/models/test_world_model.py",
    ),
    Mutant(
        "gates_in_another_order",
        "BlockGRU.__call__",
        "_gated(blocks, *jnp.split(gates, 3, -1))",
        "_gated(blocks, *jnp.split(gates, 3, -1)[::-1])",
        tests="tests/conformance/test_numbers.py::test_filtering_and_heads",
    ),
]
