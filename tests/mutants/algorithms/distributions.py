from tests.mutants import Mutant

TESTS = "tests/algorithms/test_distributions.py"

MUTANTS = [
    Mutant(
        "two_hot_linear_in_symlog",
        "two_hot_position",
        "(target - bins[lower]) / (bins[lower + 1] - bins[lower])",
        "(symlog(target) + reach) / step - lower",
    ),
    Mutant("two_hot_pairs_unmatched", "two_hot_decode", "probs[..., : num // 2][..., ::-1]", "probs[..., : num // 2]"),
    Mutant("two_hot_target_with_gradient", "two_hot_loss", "jax.lax.stop_gradient(target)", "target"),
    Mutant("two_hot_weights_swapped", "two_hot_loss", "[lower, lower + 1]", "[lower + 1, lower]"),
    Mutant(
        "two_hot_not_clipped",
        "two_hot_position",
        "jnp.clip(target.astype(jnp.float32), bins[0], bins[-1])",
        "target.astype(jnp.float32)",
    ),
    Mutant(
        "observation_mean",
        "observation_loss",
        "jnp.sum(loss, tuple(range(-event, 0)))",
        "jnp.mean(loss, tuple(range(-event, 0)))",
    ),
    Mutant("vector_not_symlog", "observation_loss", "symlog(target)", "target"),
    Mutant(
        "grid_classes_by_row", "observation_loss", "jax.nn.log_softmax(logits, -3)", "jax.nn.log_softmax(logits, -2)"
    ),
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
    Mutant("parts_in_a_row", "make_policy", "outputs[..., start : start + width]", "outputs[..., :width]"),
    Mutant("safe_log_unsafe", "_safe_log", "jnp.where(positive, probs, 1.0)", "probs", tests="tests/test_contracts.py"),
]
