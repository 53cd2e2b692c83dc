from tests.mutants import Mutant

TESTS = "tests/training/test_updates.py"

MUTANTS = [
    Mutant("bad_updates_leave_their_mark", "skip_nonfinite", "jnp.where(good, a, b)", "a"),
]
