from tests.mutants import Mutant

TESTS = "tests/algorithms/test_micro_batches.py"

MUTANTS = [
    Mutant("micro_batches_summed", "accumulate", "jnp.mean(x, 0)", "jnp.sum(x, 0)"),
]
