from tests.mutants import Mutant

TESTS = "tests/algorithms/planning/test_shooting.py"

MUTANTS = [
    Mutant("shots_without_the_end", "rollout", "total + weight * values[-1]", "total"),
    Mutant("shots_discounted_late", "rollout", "weight * reward", "weight * discount * reward"),
    Mutant("shots_that_are_illegal", "masked", "theirs.probs > 0", "theirs.probs >= 0"),
    Mutant("shots_keep_the_worst", "shoot", "jnp.argmax(returns, 1)", "jnp.argmin(returns, 1)"),
    Mutant("mppi_upside_down", "shoot", "off / spread", "-off / spread"),
]
