from tests.mutants import Mutant

TESTS = "tests/algorithms/planning/test_piecewise.py"

MUTANTS = [
    Mutant("piecewise_return_of_the_end", "max_prefix_return", "jnp.max(returns, 0)", "returns[-1]"),
    Mutant("piecewise_value_undiscounted", "max_prefix_return", "weight * value", "value"),
    Mutant(
        "piecewise_plan_stands_still", "plan_piecewise", "[plan[:, 1:], plan[:, -1:]]", "[plan[:, :1], plan[:, 1:]]"
    ),
    Mutant("piecewise_parts_change_together", "draw_piecewise", '1 if part.kind == "categorical" else part.size', "1"),
    Mutant(
        "piecewise_presses_what_is_ruled_out",
        "press_probabilities",
        "jnp.minimum(0.5, jnp.stack([first, horizon * first]))",
        "jnp.maximum(0.1, jnp.stack([first, horizon * first]))",
    ),
    Mutant(
        "piecewise_rare_presses_at_once",
        "press_probabilities",
        "[first, horizon * first]",
        "[horizon * first, horizon * first]",
    ),
    Mutant("piecewise_without_the_actor", "plan_piecewise", "mode", "0.0"),
    Mutant(
        "piecewise_keys_by_sequence",
        "plan_piecewise",
        "state, shared_keys = jax.tree.map(repeat, (state, shared_keys))",
        "state = jax.tree.map(repeat, state); shared_keys = jax.random.split(shared_keys[0], rows * count)",
    ),
]
