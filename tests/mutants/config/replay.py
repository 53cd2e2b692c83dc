from tests.mutants import Mutant

TESTS = "tests/buffers/test_samplers.py"

MUTANTS = [
    Mutant(
        "even_rows_first",
        "ReplayConfig.even_rows",
        "np.floor(np.arange(count + 1) * self.even + 1e-6)",
        "np.minimum(np.arange(count + 1), round(count * self.even))",
        tests="::test_uniform_rows_of_a_mixture_are_fixed_and_uniform",
    ),
]
