from tests.mutants import Mutant

TESTS = "tests/algorithms/test_normalization.py"

MUTANTS = [
    Mutant("percentiles_10_90", "PERCENTILES", "(5.0, 95.0)", "(10.0, 90.0)"),
    Mutant(
        "percentiles_biased",
        "normalizer_scale",
        "(state.high - state.low) / correction",
        "(state.high - state.low) / 1.0",
    ),
    Mutant(
        "percentiles_always_corrected",  # difference 5
        "normalizer_scale",
        "1 - (1 - rate) ** jnp.maximum(state.count, 1).astype(jnp.float32) if debias else 1.0",
        "1 - (1 - rate) ** jnp.maximum(state.count, 1).astype(jnp.float32)",
        tests="tests/conformance/test_numbers.py::test_gradients",
    ),
    Mutant(
        "percentiles_floor",
        "normalizer_scale",
        "jnp.maximum(limit, (state.high - state.low) / correction)",
        "jnp.minimum(limit, (state.high - state.low) / correction)",
    ),
    Mutant(
        "percentiles_of_one_device",
        "update_normalizer",
        "jax.lax.all_gather(values, axis_name, tiled=True)",
        "jax.lax.pmean(jnp.sort(values), axis_name)",
    ),
    Mutant("percentiles_with_gradient", "update_normalizer", "jax.lax.stop_gradient(values)", "values"),
]
