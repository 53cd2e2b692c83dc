from tests.mutants import Mutant

TESTS = "tests/training/storage/test_segments.py"

MUTANTS = [
    Mutant("segments_dropped_too_early", "Segments.write", "(head > oldest).any()", "(head > oldest).all()"),
    Mutant(
        "segments_after_a_failed_save",
        "Segments.write",
        "buffer = self._buffer",
        "buffer = self._buffer; self.written(folder)",
    ),
]
