from tests.mutants import Mutant

TESTS = "tests/buffers/test_samplers.py"

MUTANTS = [
    Mutant(
        "even_rows_first",
        "ReplayConfig.uniform_rows",
        "np.floor(np.arange(count + 1) * self.uniform_fraction + 1e-6)",
        "np.minimum(np.arange(count + 1), round(count * self.uniform_fraction))",
        tests="::test_uniform_rows_of_a_mixture_are_fixed_and_uniform",
    ),
]
