from tests.mutants import Mutant

TESTS = "tests/models/grid/test_pointer.py"

MUTANTS = [
    Mutant(
        "grid_pointer_moves_up",
        "RowPointer.__call__",
        "_down(rows, d, 0.0)",
        "_down(rows[:, ::-1], d, 0.0)[:, ::-1]",
        tests="::test_a_pointer_moves_rows_down_and_blanks_the_top",
    ),
    Mutant(
        "grid_pointer_score_of_the_target",
        "RowPointer.__call__",
        "_down(score[..., d : d + 1], d, -20.0)[..., 0]",
        "score[..., d]",
        tests="::test_a_pointer_can_clear_lines",
    ),
    Mutant(
        "grid_pointer_counts_itself",
        "RowPointer.__call__",
        "sums_below(feature) - feature",
        "sums_below(feature)",
        tests="::test_a_pointer_can_clear_lines",
    ),
    Mutant(
        "grid_pointer_not_normalized",
        "RowPointer.__call__",
        "jax.nn.softmax(jnp.concatenate([total, bounded(self.blank(GAIN * hidden), SCORE)], -1))",
        "jax.nn.sigmoid(jnp.concatenate([total, bounded(self.blank(GAIN * hidden), SCORE)], -1))",
        tests="::test_pointers_keep_probabilities_probabilities",
    ),
    Mutant(
        "grid_hard_pointer_of_the_lightest",
        "RowPointer.__call__",
        "jnp.argmax(weight, -1)",
        "jnp.argmin(weight, -1)",
        tests="::test_a_hard_pointer_takes_the_heaviest_shift_alone",
    ),
    Mutant(
        "grid_hard_pointer_never_blank",
        "RowPointer.__call__",
        "best > MAX_SHIFT",
        "best > MAX_SHIFT + 1",
        tests="::test_a_hard_pointer_takes_the_heaviest_shift_alone",
    ),
    Mutant(
        "grid_pointer_squashed",
        "RowPointer.__call__",
        "bounded(self.score(GAIN * hidden), SCORE)",
        "self.score(GAIN * hidden)",
        tests="::test_a_pointer_that_is_sure_of_no_shift_still_learns_one",
    ),
    Mutant(
        "grid_pointer_misreads_filling",
        "RowPointer.row_features",
        "jnp.min(by_row, -1)",
        "jnp.max(by_row, -1)",
        tests="::test_a_pointer_reads_how_much_of_a_row_each_channel_fills",
    ),
]
