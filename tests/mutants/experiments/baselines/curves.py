from tests.mutants import Mutant

TESTS = "tests/experiments/test_compare.py"

MUTANTS = [
    Mutant("error_over_games_for_seeds", "mean_curve", "len(means) > 1", "len(means) > 9"),
    Mutant("population_deviation", "summary", "ddof=1", ""),
]
