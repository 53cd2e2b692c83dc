from tests.mutants import Mutant

TESTS = "tests/algorithms/test_exploration.py"

MUTANTS = [
    Mutant(
        "one_bootstrap_for_all",
        "bootstrap_weights",
        "jax.random.exponential(key, (count,))",
        "jnp.repeat(jax.random.exponential(key, (1,)), count)",
    ),
    Mutant("bootstrap_by_local_row", "bootstrap_weights", "row_keys(key, row)", "row_keys(key, row - row[0])"),
    Mutant("predictions_across_resets", "ensemble_loss", "is_first[:, 1:]", "is_first[:, :-1]"),
    Mutant(
        "ensemble_teaches_the_model",
        "ensemble_loss",
        "jax.lax.stop_gradient((feat[:, :-1], action[:, :-1]))",
        "(feat[:, :-1], action[:, :-1])",
    ),
    Mutant("disagreement_of_features", "disagreement", "jnp.var(predictions, 0)", "jnp.var(predictions, -2)"),
    Mutant("bonus_before_the_action", "mixed_reward", "(1, 0)", "(0, 1)"),
    Mutant("bonus_not_normalized", "mixed", "intrinsic * disagreed / scale", "intrinsic * disagreed"),
    Mutant("replayed_disagreement_across_resets", "replayed_disagreement", "is_first[:, 1:]", "is_first[:, :-1]"),
]
