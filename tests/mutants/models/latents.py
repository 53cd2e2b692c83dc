from tests.mutants import Mutant

TESTS = "tests/models/test_latents.py"

MUTANTS = [
    Mutant("unimix_too_much", "unimix_logit", "unimix / logit.shape[-1]", "unimix"),
    Mutant(
        "no_straight_through",
        "sample",
        "jax.lax.stop_gradient(hot) + (probs - jax.lax.stop_gradient(probs))",
        "jax.lax.stop_gradient(hot)",
    ),
    Mutant("soft_samples", "sample", "jax.lax.stop_gradient(hot) + (probs - jax.lax.stop_gradient(probs))", "probs"),
    Mutant("kl_reversed", "kl", "jnp.exp(left) * (left - right)", "jnp.exp(right) * (right - left)"),
    Mutant(
        "kl_mean",
        "kl",
        "jnp.sum(jnp.exp(left) * (left - right), (-2, -1))",
        "jnp.mean(jnp.exp(left) * (left - right), (-2, -1))",
    ),
    Mutant("gaussian_kl_std", "kl", "jnp.square(std_q)", "jnp.square(std_p)"),
    Mutant("gaussian_std_unbounded", "gaussian_logit", "jax.nn.softplus(std) + min_std", "jax.nn.softplus(std)"),
    Mutant(
        "gaussian_std_without_gradient",
        "sample",
        "std * row_normal(keys, mean.shape[1:])",
        "jax.lax.stop_gradient(std) * row_normal(keys, mean.shape[1:])",
    ),
    Mutant("impossible_classes_drawn", "one_hot_sample", "cumulative < threshold", "cumulative <= threshold"),
    Mutant("uniform_not_flipped", "one_hot_sample", "1 - uniform", "uniform"),
    Mutant(
        "unimix_added_on_top",
        "unimix_logit",
        "(1 - unimix) * jnp.exp(logit)",
        "jnp.exp(logit)",
        tests="tests/conformance/test_numbers.py::test_losses",
    ),
]
