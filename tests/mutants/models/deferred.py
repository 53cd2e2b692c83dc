from tests.mutants import Mutant

TESTS = "tests/models/test_deferred.py"

MUTANTS = [
    Mutant("deferred_backwards_untransposed", "_product_cotangents", "jnp.swapaxes(kernel, -1, -2)", "kernel"),
    Mutant("deferred_in_half_precision", "gradient", "dtype=kernel.dtype", "dtype=dtype"),
]
