from tests.mutants import Mutant

TESTS = "tests/envs/tetris/test_rules.py"

MUTANTS = [
    Mutant("garbage_has_one_hole_for_all_rows", "first_board", "(row, 2)", "(0, 2)"),
    Mutant("sz_draws_z_and_j", "draw_bag", 'PIECES.index("S")', 'PIECES.index("Z")'),
]
