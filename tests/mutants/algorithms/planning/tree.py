from tests.mutants import Mutant

TESTS = "tests/algorithms/planning/test_tree.py"

MUTANTS = [
    Mutant(
        "tree_keys_by_child",
        "tree_search",
        "fold(own, SHARED)",
        "fold(jax.vmap(jax.random.fold_in)(own, index + CHILD), SHARED)",
    ),
    Mutant("tree_children_with_one_key", "tree_search", "index + CHILD", "0 * index + CHILD"),
    Mutant(
        "tree_credits_twice", "propose", "jnp.argmax(same, -1) == jnp.arange(count)[None]", "jnp.argmax(same, -1) > -1"
    ),
    Mutant(
        "tree_prior_of_draws_is_the_policys",
        "propose",
        "jnp.log(jnp.sum(same, -1) / count)",
        "jnp.stack([policy.log_prob(a) for a in jnp.swapaxes(action, 0, 1)], 1)",
    ),
    Mutant("tree_takes_the_illegal", "propose", "jnp.where(legal, log_prob, NEVER)", "log_prob"),
    Mutant("tree_without_noise", "tree_search", "candidates.noise + score", "score"),
]
