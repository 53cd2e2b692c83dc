from tests.mutants import Mutant

TESTS = "tests/algorithms/test_search_loss.py"

MUTANTS = [
    Mutant(
        "search_teaches_after_the_end", "search_loss", "live * distil.reshape(live.shape)", "distil.reshape(live.shape)"
    ),
    Mutant(
        "search_values_of_the_end",
        "search_loss",
        "critic_loss(outputs, slow, targets.value, live, config)",
        "critic_loss(outputs, slow, targets.value, jnp.ones_like(live), config)",
    ),
]
