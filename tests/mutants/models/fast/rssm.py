from tests.mutants import Mutant

TESTS = "tests/models/fast/test_deferred_gradients.py"

MUTANTS = [
    Mutant(
        "shared_rows_from_own",
        "share",
        'params["rssm"]["cell"]["hidden"]["kernel"][:, own:]',
        'params["rssm"]["cell"]["hidden"]["kernel"][:, -own:]',
        tests="tests/models/fast/test_steps.py",
    ),
    Mutant(
        "a_layer_not_deferred",
        "STEPWISE",
        '("cell", "post_deter", "post_hidden", "post_out")',
        '("cell", "post_deter", "post_out")',
    ),
    Mutant("shared_rows_not_deferred", "hoist", "slot(wide)", "slot(0 * wide)"),
]
