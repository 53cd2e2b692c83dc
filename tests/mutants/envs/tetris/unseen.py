from tests.mutants import Mutant

TESTS = "tests/envs/tetris/test_unseen.py"

MUTANTS = [
    Mutant("bags_redrawn_whole", "redraw", "jnp.where(known, place.astype(jnp.float32), order)", "order"),
]
