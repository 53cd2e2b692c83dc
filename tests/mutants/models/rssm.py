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
        "shared_rows_prepared_from_own",
        "prepared",
        'cell["hidden"]["kernel"][:, own:]',
        'cell["hidden"]["kernel"][:, -own:]',
    ),
    Mutant(
        "a_layer_not_deferred",
        "step_slots",
        '("cell", "post_deter", "post_hidden", "post_out")',
        '("cell", "post_deter", "post_out")',
        tests="tests/models/test_deferred.py",
    ),
    Mutant(
        "shared_rows_not_deferred",
        "step_slots",
        'params["wide"]',
        '0 * params["wide"]',
        tests="tests/models/test_deferred.py",
    ),
]
