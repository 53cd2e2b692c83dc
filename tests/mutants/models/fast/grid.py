from tests.mutants import Mutant

TESTS = "tests/models/grid/test_model.py"

MUTANTS = [
    Mutant(
        "grid_effects_of_the_next_step",
        "hoist",
        "embed[:, :-1, units:]",
        "embed[:, 1:, units:]",
        tests="::test_effects_of_a_window_at_once_are_those_of_its_steps",
    ),
    Mutant(
        "grid_effects_across_resets",
        "hoist",
        "jnp.where(is_first[..., None], 0.0, x)",
        "x",
        tests="::test_effects_of_a_window_at_once_are_those_of_its_steps",
    ),
]
