from tests.mutants import Mutant

TESTS = "tests/algorithms/test_search.py"

MUTANTS = [
    Mutant("search_trusts_the_critic_anyway", "evaluate_candidates", "bootstrap * discount", "discount"),
    Mutant(
        "search_goes_on_after_the_end", "arrival", "config.loss.gamma * cont", "config.loss.gamma * jnp.ones_like(cont)"
    ),
    Mutant("search_discount_twice", "arrival", "cont = jnp.minimum(cont / config.loss.gamma, 1.0)", ""),
    Mutant("search_weighs_the_illegal", "evaluate_candidates", "jnp.where(tried.legal, score, NEVER)", "score"),
    Mutant(
        "search_temperature_upside_down",
        "evaluate_candidates",
        "standardise(q, tried.legal) / config.search.temperature",
        "standardise(q, tried.legal) * config.search.temperature",
    ),
    Mutant(
        "search_spread_of_the_illegal",
        "standardise",
        "legal / jnp.maximum(jnp.sum(legal, 1, keepdims=True), 1)",
        "jnp.ones_like(q) / jnp.maximum(jnp.sum(legal, 1, keepdims=True), 1)",
    ),
    Mutant("search_variance_for_deviation", "standardise", "jnp.sqrt(variance + 1e-8)", "variance + 1e-8"),
    Mutant("search_luck_by_candidate", "evaluate_candidates", "repeat(keys)", "jnp.tile(keys, k)"),
    Mutant("search_taken_not_first", "rank_actions", "jnp.where(distance < 0.5, -NEVER, score)", "score"),
    Mutant("tree_backup_reward_of_now", "tree_backup", "reward[:, 1:]", "reward[:, :-1]"),
    Mutant("tree_backup_end_of_now", "tree_backup", "discount[:, 1:]", "discount[:, :-1]"),
    Mutant(
        "tree_backup_over_ends",
        "tree_backup",
        "lam * taken_weight * (1.0 - is_last.astype(jnp.float32))",
        "lam * taken_weight",
    ),
    Mutant(
        "tree_backup_from_the_value",
        "tree_backup",
        "reward_next + discount_next * following - q",
        "reward_next + discount_next * following - value",
    ),
    Mutant(
        "distillation_of_the_illegal",
        "distillation_loss",
        "jnp.where(tried.legal, searched.weight * spread.log_prob(tried.action), 0.0)",
        "searched.weight * spread.log_prob(tried.action)",
    ),
]
