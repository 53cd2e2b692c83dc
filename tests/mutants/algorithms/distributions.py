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
        "discount_kept_in_cont",
        "continue_probability",
        "cont / gamma",
        "cont",
        tests="tests/algorithms/test_imagination.py",
    ),
    Mutant(
        "cont_cut_off_at_one",  # difference 3
        "continue_probability",
        "cont / gamma",
        "jnp.minimum(cont / gamma, 1.0)",
        tests="tests/conformance/test_numbers.py::test_imagination",
    ),
]
