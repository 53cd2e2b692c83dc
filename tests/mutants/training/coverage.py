from tests.mutants import Mutant

TESTS = "tests/training/test_coverage.py"

MUTANTS = [
    Mutant("coverage_of_what_falls", "Coverage.add", "records.obs[self._name][:, 0]", "records.obs[self._name][:, -1]"),
    Mutant("coarse_cells_half_full", "coarse", "2 * filled > sizes[None]", "2 * filled >= sizes[None]"),
]
