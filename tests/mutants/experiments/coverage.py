from tests.mutants import Mutant

TESTS = "tests/experiments/test_coverage.py"

MUTANTS = [
    Mutant("coverage_of_what_falls", "Coverage.add", "obs[self._name][:, 0]", "obs[self._name][:, -1]"),
    Mutant("coarse_cells_half_full", "coarse", "2 * filled > sizes[None]", "2 * filled >= sizes[None]"),
]
