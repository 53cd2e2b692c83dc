from tests.mutants import Mutant

TESTS = "tests/training/storage/test_shipped.py"

MUTANTS = [
    Mutant(
        "shipped_without_its_checksum",
        "read",
        'if not intact: raise CheckpointError(f"the shipped agent in {folder} is damaged: {PARAMS} has changed")',
        'if False: raise CheckpointError(f"the shipped agent in {folder} is damaged: {PARAMS} has changed")',
    ),
]
