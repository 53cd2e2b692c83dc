from tests.mutants import Mutant

TESTS = "tests/reporting/test_uncertainty.py"

MUTANTS = [
    Mutant("ranks_without_ties", "ranks", "last - (counts - 1) / 2", "last"),
    Mutant(
        "errors_sorted_the_wrong_way",
        "summary",
        'np.argsort(disagreement, kind="stable")',
        'np.argsort(-disagreement, kind="stable")',
    ),
]
