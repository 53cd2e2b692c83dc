from tests.mutants import Mutant

TESTS = "tests/algorithms/planning/test_shooting.py"

MUTANTS = [
    Mutant("shots_without_the_end", "rollout", "total + weight * values[-1]", "total"),
    Mutant("shots_discounted_late", "rollout", "weight * reward", "weight * discount * reward"),
    Mutant("shots_that_are_illegal", "masked", "actor.probs > 0", "actor.probs >= 0"),
    Mutant("shots_keep_the_worst", "plan_cem", "jnp.argmax(returns, 1)", "jnp.argmin(returns, 1)"),
    Mutant(
        Mutant(
            "shots_refitted_to_the_worst",
            "plan_cem",
            "jax.lax.top_k(returns, config.elites)",
            "jax.lax.top_k(-returns, config.elites)",
        ),
        "plan_cem",
        "jax.lax.top_k(returns, config.elites)",
        "jax.lax.top_k(-returns, config.elites)",
    ),
]
