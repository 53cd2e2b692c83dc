from tests.mutants import Mutant

TESTS = "tests/models/fast/test_deferred_gradients.py"

MUTANTS = [
    Mutant("deferred_backwards_untransposed", "_cotangents", "jnp.swapaxes(kernel, -1, -2)", "kernel"),
    Mutant("deferred_in_half_precision", "gradient", "dtype=kernel.dtype", "dtype=dtype"),
]
