from tests.mutants import Mutant

TESTS = "tests/algorithms/test_actions.py"

MUTANTS = [
    Mutant(
        "bits_log_prob_mean",
        "Policy.log_prob",
        "jnp.sum(x * log_p + (1 - x) * log_not, -1)",
        "jnp.mean(x * log_p + (1 - x) * log_not, -1)",
    ),
    Mutant(
        "bits_entropy_of_ones_alone",
        "Policy.entropy",
        "p * _safe_log(p) + (1 - p) * _safe_log(1 - p)",
        "p * _safe_log(p)",
    ),
    Mutant("bits_unimix", "_policy_part", "config.unimix / 2", "config.unimix"),
    Mutant("actor_without_unimix", "_policy_part", "(1 - config.unimix) * probs + config.unimix / part.size", "probs"),
    Mutant(
        "unimix_over_illegal",
        "_policy_part",
        "legal / jnp.sum(legal, -1, keepdims=True)",
        "jnp.full(legal.shape, 1 / legal.shape[-1])",
    ),
    Mutant("mask_leaks", "_policy_part", "jnp.where(legal, raw, -1e30)", "jnp.where(legal, raw, -3.0)"),
    Mutant("mask_infinite", "_policy_part", "legal = legal | ~jnp.any(legal, -1, keepdims=True)", ""),
    Mutant(
        "mask_on_every_part",
        "make_policy",
        "mask if part.masked else None",
        "mask if part.kind == 'categorical' else None",
    ),
    Mutant("action_with_gradient", "Policy.log_prob", "jax.lax.stop_gradient(x)", "x"),
    Mutant(
        "parts_share_a_key",
        "Policy.sample",
        "part_keys[:, i]",
        "part_keys[:, 0]",
        tests="tests/algorithms/test_randomness.py",
    ),
    Mutant("safe_log_unsafe", "_safe_log", "jnp.where(positive, probs, 1.0)", "probs", tests="tests/test_contracts.py"),
]
