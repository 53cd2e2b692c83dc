from tests.mutants import Mutant

TESTS = "tests/training/test_schedule.py::test_dreamerv3_makes_the_updates_of_the_reference"

MUTANTS = [
    Mutant("no_update_with_the_last_window", "_make_schedule", "config.replay.min_windows > 0", "False"),
    Mutant("first_update_a_step_late", "RatioSchedule.pending", "step >= self._start", "step > self._start"),
]
