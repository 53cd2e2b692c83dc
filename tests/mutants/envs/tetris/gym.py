from tests.mutants import Mutant

TESTS = "tests/training/collection/test_compiled_collector.py"

MUTANTS = [
    Mutant("a_call_leaves_the_games_behind", "TetrisVectorEnv.follow", "self._words = words", ""),
]
