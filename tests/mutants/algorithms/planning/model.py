from tests.mutants import Mutant

TESTS = "tests/algorithms/planning/test_model.py"

MUTANTS = [
    Mutant(
        "plans_where_all_is_legal",
        "latent_model",
        "world_model.mask(model, feat) > 0",
        "world_model.mask(model, feat) > -9",
    ),
    Mutant("explorer_plans_for_the_task", "latent_model", "disagreement is not None", "False"),
    Mutant("plans_paid_in_other_units", "apply_disagreement", "weights.scale", "1.0"),
    Mutant(
        "one_step_goes_on_after_the_end",
        "reward_and_discount",
        "loss.gamma * cont",
        "loss.gamma * jnp.ones_like(cont)",
        tests="tests/algorithms/planning/test_one_step.py",
    ),
    Mutant(
        "one_step_discount_twice",
        "reward_and_discount",
        "cont_discount=loss.cont_discount",
        "cont_discount=False",
        tests="tests/algorithms/planning/test_one_step.py",
    ),
]
