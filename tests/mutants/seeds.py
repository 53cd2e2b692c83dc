from tests.mutants import Mutant

TESTS = "tests/test_seeds.py"

MUTANTS = [
    Mutant(
        "seeds_of_evaluation_in_training",
        "evaluation_seed",
        "seed if seed >= EVALUATION else seed + EVALUATION",
        "seed",
    ),
    Mutant("derived_seeds_cross_over", "derived_seed", "EVALUATION + drawn % 2**30", "drawn"),
]
