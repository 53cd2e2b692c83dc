from tests.mutants import Mutant

TESTS = "tests/training/runtime/test_watchdog.py"

MUTANTS = [
    Mutant("hangs_told_once", "Watchdog.look", "self._next *= 2", "self._next = 1e9"),
    Mutant(
        "patience_is_not_renewed", "Watchdog.look", "self._seen, self._next = call, self._patience", "self._seen = call"
    ),
]
