from tests.mutants import Mutant

TESTS = "tests/algorithms/planning/test_candidates.py"

MUTANTS = [
    Mutant("candidates_without_noise", "top_actions", "log_prob + noise", "log_prob"),
    Mutant(
        "candidates_that_are_illegal", "top_actions", "jnp.where(legal, log_prob + noise, NEVER)", "log_prob + noise"
    ),
]
