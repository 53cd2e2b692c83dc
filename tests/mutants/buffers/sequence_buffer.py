from tests.mutants import Mutant

TESTS = "tests/buffers/test_sequence_buffer.py"

MUTANTS = [
    Mutant(
        "replay_priority_of_the_start",
        "greatest_after",
        "[priority[:, 1:], priority[:, -1:]]",
        "[priority[:, :1], priority[:, 1:]]",
    ),
]
