from tests.mutants import Mutant

TESTS = "tests/training/test_trainer.py"

MUTANTS = [
    Mutant(
        "priorities_never_return",
        "Trainer._feed_back",
        "np.asarray(outs.priority)",
        "np.ones_like(outs.priority)",
        tests="::test_a_prioritised_run_draws_surprising_windows_more_often",
    ),
    Mutant(
        "updates_owed_for_one_step_of_a_call",
        "Trainer.run",
        "self.step + in_call",
        "self.step + config.num_envs",
        tests="::test_several_steps_in_one_call_keep_the_schedule",
    ),
    Mutant(
        "drawn_before_there_is_anything",
        "Trainer.run",
        "due and self.buffer.num_windows(config.batch_length)",
        "due",
        tests="::test_several_steps_in_one_call_keep_the_schedule",
    ),
    Mutant(
        "explorer_collects_for_ever",
        "Trainer._acting",
        "self.step >= self.config.explore.steps",
        "not self.config.explore.steps",
    ),
]
