from tests.mutants import Mutant

TESTS = "tests/models/grid/test_layers.py"

MUTANTS = [
    Mutant(
        "grid_scores_blind_to_the_border",
        "CellScores.__call__",
        "[around, outside]",
        "[around, 0 * outside]",
        tests="::test_scores_of_cells_move_over_columns_and_are_local",
    ),
    Mutant(
        "grid_scores_by_column",
        "CellScores.__call__",
        "jnp.swapaxes(out.astype(jnp.float32), 1, 2)",
        "out.astype(jnp.float32)",
        tests="::test_scores_of_cells_move_over_columns_and_are_local",
    ),
    Mutant(
        "grid_bounded_gradients_lead_out",
        "_bounded_bwd",
        "grad < 0",
        "grad > 0",
        tests="::test_bounded_logits_pass_gradients_that_lead_back",
    ),
    Mutant(
        "grid_edits_nothing",
        "LocalEdit.__call__",
        "place(edit, row, column, (layout.height, layout.width), radius, 3)",
        "0 * place(edit, row, column, (layout.height, layout.width), radius, 3)",
        tests="tests/models/grid/test_model.py::test_a_small_grid_model_learns_the_rules_of_falling_blocks",
    ),
]
