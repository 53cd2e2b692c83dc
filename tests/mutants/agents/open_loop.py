from tests.mutants import Mutant

TESTS = "tests/agents/test_agent.py"

MUTANTS = [
    Mutant("dream_acts_late", "open_loop", "action[:, context - 1 : -1]", "action[:, context:]"),
    Mutant("dream_sees_one_more", "open_loop", "x[:, context - 1]", "x[:, context]"),
    Mutant(
        "next_by_the_next_action",
        "open_loop",
        "action[:, :-1].reshape(-1, action.shape[-1])",
        "action[:, 1:].reshape(-1, action.shape[-1])",
    ),
]
