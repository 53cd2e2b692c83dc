from tests.mutants import Mutant

TESTS = "tests/models/test_nets.py"

MUTANTS = [
    Mutant("norm_epsilon", "RMSNorm", "eps: float = 1e-4", "eps: float = 1e-6"),
    Mutant("kernel_scale_not_squared", "kernel_init", "scale**2", "scale"),
    Mutant(
        "block_fan_in_of_one",  # difference 1
        "BlockDense.__call__",
        "in_axis=(0, 1)",
        "batch_axis=(0,)",
        tests="tests/conformance/test_networks.py::test_initial_scales",
    ),
    Mutant(
        "blocks_read_each_others_shared_part",
        "BlockDense.__call__",
        "jnp.swapaxes(z.reshape(rows, blocks, self.features), 0, 1)",
        "z.reshape(blocks, rows, self.features)",
    ),
    Mutant("blocks_normalized_apart", "RMSNorm.__call__", "(0, 2) if self.by_blocks else -1", "-1"),
]
