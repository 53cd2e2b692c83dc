from tests.mutants import Mutant

TESTS = "tests/training/test_trainer.py"

MUTANTS = [
    Mutant(
        "priorities_never_return",
        "Trainer._feed_back",
        "np.asarray(out.priority)",
        "np.ones_like(out.priority)",
        tests="::test_a_prioritized_run_draws_surprising_windows_more_often",
    ),
    Mutant(
        "updates_due_for_one_step_of_a_call",
        "Trainer.run",
        "step + steps_per_call",
        "step + config.num_envs",
        tests="::test_several_steps_in_one_call_keep_the_schedule",
    ),
    Mutant(
        "drawn_before_there_is_anything",
        "Trainer.run",
        "pending and self.buffer.num_windows(config.batch_length)",
        "pending",
        tests="::test_several_steps_in_one_call_keep_the_schedule",
    ),
    Mutant(
        "explorer_collects_for_ever",
        "Trainer._collecting_inputs",
        "self.step >= self.config.explore.steps",
        "not self.config.explore.steps",
    ),
]
