from tests.mutants import Mutant

TESTS = "tests/agents/test_agent.py"

MUTANTS = [
    Mutant(
        "search_takes_the_worst",
        "searched",
        "jnp.argmax(score, 1)",
        "jnp.argmin(score, 1)",
        tests="::test_greedy_search_takes_the_best_legal_action",
    ),
    Mutant(
        "search_takes_the_illegal",
        "searched",
        "score = jnp.where(tried.legal, score, NEVER)",
        "",
        tests="::test_greedy_search_takes_the_best_legal_action",
    ),
]
