from tests.mutants import Mutant

TESTS = "tests/training/test_trainer.py"

MUTANTS = [
    Mutant(
        "one_bad_update_too_many",
        "MetricMeans.fetch",
        "self._in_a_row > self._skip",
        "self._in_a_row > self._skip + 1",
        tests="::test_bad_updates_are_left_out_and_told",
    ),
]
