from tests.mutants import Mutant

TESTS = "tests/agents/test_planning_agent.py"

MUTANTS = [
    Mutant(
        "plans_where_all_is_legal",
        "latent_simulator",
        "world_model.mask(model, feat) > 0",
        "world_model.mask(model, feat) > -9",
    ),
    Mutant("explorer_plans_for_the_task", "latent_simulator", "NOVELTY in params", "NOVELTY in params and False"),
]
