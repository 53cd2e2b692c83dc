from tests.mutants import Mutant

TESTS = "tests/models/fast/test_kernels.py"

MUTANTS = [
    Mutant(
        "kernel_gradient_untransposed",
        "kernel_gradient",
        "return swapped.T",
        "return swapped.reshape(swapped.shape[::-1])",
    ),
    Mutant(
        "known_without_gradient_to_the_kernel",
        "",
        "(*_cotangents(kept, given), None)",
        "(given @ kept[1].T, jnp.zeros_like(kept[1]), None)",
    ),
    Mutant(
        "intercepted_without_bias",
        "intercept",
        "y if bias is None else y + jnp.reshape(bias, (1,) * (y.ndim - 1) + (-1,))",
        "y",
        tests="tests/models/fast/test_activations.py",
    ),
]
