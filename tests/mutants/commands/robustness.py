from tests.mutants import Mutant

TESTS = "tests/commands/test_evaluate.py"

MUTANTS = [
    Mutant("robustness_gains", "loss", 'standard["mean"] - other["mean"]', 'other["mean"] - standard["mean"]'),
]
