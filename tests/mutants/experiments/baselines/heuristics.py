from tests.mutants import Mutant

TESTS = "tests/experiments/test_heuristics.py"

MUTANTS = [
    Mutant("wells_without_their_depth", "_add_runs", "runs >> jnp.uint32(1)", "jnp.uint32(0)"),
    Mutant("landing_on_top_of_the_piece", "features", "(bottom - top + 1) / 2", "bottom - top + 1"),
    Mutant("drop_before_it_stands_right", "_best_press", "(turned == turn) & (shifted == x)", "shifted == x"),
]
