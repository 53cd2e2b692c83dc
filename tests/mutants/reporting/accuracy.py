from tests.mutants import Mutant

TESTS = "tests/reporting/test_accuracy.py"

MUTANTS = [
    Mutant("accuracy_counts_contexts", "counted_steps", "index >= context", "index >= 0"),
    Mutant(
        "accuracy_unchanged_since_the_last_step",
        "count_correct",
        "real[:, context - 1 : context]",
        "real[:, context - 2 + k : context - 1 + k]",
    ),
    Mutant("accuracy_clears_before_the_step", "count_correct", "cleared[:, 1:]", "cleared[:, :-1]"),
    Mutant(
        "accuracy_error_of_independent_steps",
        "ratio",
        "(episodes / (episodes - 1) * squares) ** 0.5 / float(total)",
        "(mean * (1 - mean) / float(total)) ** 0.5",
    ),
]
