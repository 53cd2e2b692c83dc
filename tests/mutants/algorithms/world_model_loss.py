from tests.mutants import Mutant

TESTS = "tests/algorithms/test_world_model_loss.py"

MUTANTS = [
    Mutant("action_of_now", "observe_window", "jnp.concatenate([prev_action[:, None], action[:, :-1]], 1)", "action"),
    Mutant(
        "one_key_for_all_steps",
        "observe_window",
        "step_keys(keys, t)",
        "step_keys(keys, 0 * t)",
        tests="tests/algorithms/test_randomness.py",
    ),
    Mutant(
        "window_begins_anywhere",
        "window_inputs",
        "jnp.asarray(batch.is_first).at[:, 0].set(True)",
        "jnp.asarray(batch.is_first)",
    ),
    Mutant("dyn_trains_the_posterior", "world_model_loss", "sg(post.logit)", "post.logit"),
    Mutant("rep_trains_the_prior", "world_model_loss", "sg(prior_logit)", "prior_logit"),
    Mutant(
        "free_nats_after_the_mean",
        "world_model_loss",
        "jnp.maximum(dyn_kl, loss.free_nats)",
        "jnp.full_like(dyn_kl, jnp.maximum(jnp.mean(dyn_kl), loss.free_nats))",
    ),
    Mutant(
        "truncation_is_termination",
        "world_model_loss",
        "batch.is_terminal.astype(jnp.float32)",
        "batch.is_last.astype(jnp.float32)",
    ),
    Mutant("cont_target_undiscounted", "world_model_loss", "cont_target *= loss.gamma", ""),
    Mutant("starts_with_gradient", "world_model_loss", "jax.tree.map(sg, post)", "post"),
    Mutant(
        "rows_by_place", "world_model_loss", "row_keys(key, batch.row)", "row_keys(key, jnp.arange(batch.row.shape[0]))"
    ),
    Mutant(
        "grid_first_steps_of_episodes_unread",
        "world_model_loss",
        "jnp.asarray(batch.is_first, known.dtype)[:, 0]",
        "0.0",
        tests="tests/models/grid/test_model.py::test_first_steps_without_a_past_are_not_reconstructed",
    ),
    Mutant(
        "grid_first_steps_with_a_past_unread",
        "world_model_loss",
        "world_model.needs_previous and batch.context is None",
        "world_model.needs_previous",
        tests="tests/models/grid/test_model.py::test_first_steps_without_a_past_are_not_reconstructed",
    ),
    Mutant(
        "a_switch_without_effect",
        "world_model_loss",
        "cont_target *= loss.gamma",
        "cont_target *= 1 - 1 / 333",
        tests="tests/test_switches.py",
    ),
    Mutant(
        "actions_of_the_step_after",
        "observe_window",
        "action[:, :-1]",
        "action[:, 1:]",
        tests="tests/conformance/test_numbers.py::test_filtering_and_heads",
    ),
]
