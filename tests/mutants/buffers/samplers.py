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
    Mutant(
        "online_newest_first",
        "OnlineQueue.sample",
        "start - head[env]",
        "head[env] - start",
        tests="::test_online_windows_come_oldest_first_and_each_once",
    ),
    Mutant(
        "online_from_step_0",
        "OnlineQueue.__init__",
        "np.ones(num_envs, np.int64)",
        "np.zeros(num_envs, np.int64)",
        tests="::test_online_windows_of_the_reference",
    ),
    Mutant(
        "online_windows_without_gap",
        "OnlineQueue.sample",
        "self.context + length",
        "length",
        tests="::test_online_windows_of_the_reference",
    ),
    Mutant(
        "online_context_overwritten",
        "OnlineQueue.sample",
        "queue[:, 1] - self.context",
        "queue[:, 1]",
        tests="::test_online_drops_windows_that_are_overwritten_or_whose_context_is",
    ),
]
