from tests.mutants import Mutant

TESTS = "tests/training/collection/test_compiled_collector.py"

MUTANTS = [
    Mutant("every_step_of_a_call_by_one_key", "CompiledSteps.__init__", "np.uint32(counted)", "np.uint32(0)"),
    Mutant(
        "no_reset_within_a_call",
        "CompiledSteps.__init__",
        "(carry, obs, is_last, words, over)",
        "(carry, obs, is_first, words, over)",
    ),
    Mutant(
        "a_call_acts_at_the_end_of_an_episode",
        "CompiledSteps.__init__",
        "jnp.where(is_last[:, None], 0, action)",
        "jnp.where(is_last[:, None], action, action)",
    ),
    Mutant("wrappers_passed_over", "engine_of", "type(env.env)", "type(env.env.unwrapped)"),
]
