from tests.mutants import Mutant

TESTS = "tests/models/test_kernels.py"

MUTANTS = [
    Mutant(
        "kernel_gradient_untransposed",
        "kernel_gradient",
        "return swapped.T",
        "return swapped.reshape(swapped.shape[::-1])",
    ),
    Mutant(
        "recalled_without_gradient_to_the_kernel",
        "",
        "(*_cotangents(kept, given), None)",
        "(given @ kept[1].T, jnp.zeros_like(kept[1]), None)",
    ),
]
