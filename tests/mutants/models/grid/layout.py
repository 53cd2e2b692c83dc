from tests.mutants import Mutant

TESTS = "tests/models/grid/test_layout.py"

MUTANTS = [
    Mutant(
        "grid_window_without_border",
        "window",
        "constant_values=1",
        "constant_values=0",
        tests="::test_window_against_numpy_and_place_is_its_transpose",
    ),
    Mutant(
        "grid_place_off_by_one",
        "place",
        "np.arange(shape[0])[None] - row[:, None] + up",
        "np.arange(shape[0])[None] - row[:, None] + up + 1",
        tests="::test_window_against_numpy_and_place_is_its_transpose",
    ),
    Mutant(
        "grid_focus_of_all_channels",
        "focus_place",
        "cells[:, -1]",
        "jnp.max(cells, 1)",
        tests="::test_the_place_of_the_action",
    ),
    Mutant(
        "grid_focus_by_columns",
        "focus_place",
        "index // layout.width, index % layout.width",
        "index % layout.height, index // layout.height",
        tests="::test_the_place_of_the_action",
    ),
    Mutant(
        "grid_pairs_with_themselves",
        "button_pairs",
        "np.triu_indices(len(places), 1)",
        "np.triu_indices(len(places), 0)",
        tests="::test_pairs_of_buttons",
    ),
    Mutant(
        "grid_images_allowed",
        "grid_layout",
        "len(grids) != 1 or images",
        "len(grids) != 1",
        tests="::test_only_one_grid_and_no_image",
    ),
]
