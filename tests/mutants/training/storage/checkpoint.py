from tests.mutants import Mutant

TESTS = "tests/training/storage/test_segments.py"

MUTANTS = [
    Mutant("damage_signed_by_the_next_save", "_write_manifest", "return known[name]", ""),
    Mutant(
        "some_leaves_out_of_order",
        "_read_some",
        "{name: found[name] for name in like}",
        "found",
        tests="tests/training/storage/test_checkpoint.py",
    ),
    Mutant(
        "best_is_the_worst_checkpoint",
        "best",
        "max(scores, key=scores.__getitem__)",
        "min(scores, key=scores.__getitem__)",
        tests="tests/training/storage/test_shipped.py",
    ),
]
