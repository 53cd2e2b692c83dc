from tests.mutants import Mutant

TESTS = "tests/models/test_ensemble.py"

MUTANTS = [
    Mutant(
        "predictions_of_this_step",
        "target",
        "following.stoch.reshape(*following.stoch.shape[:-2], size)",
        "state.stoch.reshape(*following.stoch.shape[:-2], size)",
    ),
    Mutant("members_alike", "make_ensemble", '{"params": True}', '{"params": False}'),
]
