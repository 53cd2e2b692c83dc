from tests.mutants import Mutant

TESTS = "tests/algorithms/planning/test_one_step.py"

MUTANTS = [
    Mutant("one_step_trusts_the_critic_anyway", "candidate_values", "bootstrap * discount", "discount"),
    Mutant("one_step_keys_by_candidate", "candidate_values", "repeat(shared_keys)", "jnp.tile(shared_keys, k)"),
    Mutant(
        "one_step_spread_of_the_illegal",
        "standardize",
        "legal / jnp.maximum(jnp.sum(legal, 1, keepdims=True), 1)",
        "jnp.ones_like(q) / jnp.maximum(jnp.sum(legal, 1, keepdims=True), 1)",
    ),
    Mutant("one_step_variance_for_deviation", "standardize", "jnp.sqrt(variance + 1e-8)", "variance + 1e-8"),
    Mutant(
        "one_step_temperature_upside_down",
        "plan_one_step",
        "standardize(q, candidates.legal) / config.act_temperature",
        "standardize(q, candidates.legal) * config.act_temperature",
    ),
    Mutant("one_step_takes_the_worst", "plan_one_step", "jnp.argmax(score, 1)", "jnp.argmin(score, 1)"),
    Mutant("one_step_takes_the_illegal", "plan_one_step", "score = jnp.where(candidates.legal, score, NEVER)", ""),
]
