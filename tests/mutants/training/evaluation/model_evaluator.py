from tests.mutants import Mutant

TESTS = "tests/training/evaluation/test_model_evaluator.py"

MUTANTS = [
    Mutant("model_windows_overlap", "window_starts", "max(HORIZONS)", "max(HORIZONS) - 1"),
    Mutant("model_windows_forget_the_action_before", "windows", "start - 1", "start"),
]
