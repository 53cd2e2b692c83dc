from tests.mutants import Mutant

TESTS = "tests/agents/test_dream_agent.py"

MUTANTS = [
    Mutant("dream_acts_late", "open_loop", "action[:, context - 1 : -1]", "action[:, context:]"),
    Mutant("dream_sees_one_more", "open_loop", "x[:, context - 1]", "x[:, context]"),
    Mutant(
        "next_by_the_next_action",
        "open_loop",
        "action[:, :-1].reshape(-1, action.shape[-1])",
        "action[:, 1:].reshape(-1, action.shape[-1])",
    ),
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
