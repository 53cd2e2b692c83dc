from tests.mutants import Mutant

TESTS = "tests/algorithms/test_actions.py"

MUTANTS = [
    Mutant("parts_in_a_row", "ActionSpec.slices", "slice(end - size, end)", "slice(0, size)"),
]
