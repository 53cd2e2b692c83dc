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
    Mutant(
        "plans_paid_in_other_units",
        "heed",
        "mixed(reward, disagreed, novelty.scale, intrinsic=novelty.intrinsic, extrinsic=novelty.extrinsic)",
        "mixed(reward, disagreed, 1.0, intrinsic=novelty.intrinsic, extrinsic=novelty.extrinsic)",
        tests="tests/agents/test_planning_agent.py",
    ),
    Mutant(
        "plans_end_in_other_units",
        "heed",
        "novelty.limit * novelty.scale",
        "novelty.limit",
        tests="tests/agents/test_planning_agent.py",
    ),
    Mutant(
        "doubt_pays_plans",
        "planning_params",
        "(-planner.penalty, 1.0, planner.limit or jnp.inf)",
        "(planner.penalty, 1.0, planner.limit or jnp.inf)",
        tests="tests/algorithms/test_explorer.py",
    ),
    Mutant(
        "doubt_in_unknown_units",
        "planning_params",
        "novelty.count > 0",
        "novelty.count >= 0",
        tests="tests/algorithms/test_explorer.py",
    ),
]
