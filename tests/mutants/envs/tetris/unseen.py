from tests.mutants import Mutant

TESTS = "tests/envs/tetris/test_unseen.py"

MUTANTS = [
    Mutant("bags_dealt_anew", "redraw", "jnp.where(settled, place.astype(jnp.float32), order)", "order"),
]
