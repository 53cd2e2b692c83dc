from tests.mutants import Mutant

TESTS = "tests/buffers/test_samplers.py"

MUTANTS = [
    Mutant(
        "even_share_in_the_other_rows",
        "MixtureSampler.sample",
        "((self.uniform, rows), (self.base, others))",
        "((self.uniform, others), (self.base, rows))",
        tests="::test_uniform_rows_of_a_mixture_are_fixed_and_uniform",
    ),
    Mutant(
        "new_steps_as_likely_as_one",
        "PrioritizedSampler._follow",
        "self.tree.total / np.sum(was_valid - was_low)",
        "1.0",
        tests="::test_new_steps_are_as_likely_as_the_mean_of_the_starts_before_them",
    ),
]
