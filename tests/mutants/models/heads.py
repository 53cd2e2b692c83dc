from tests.mutants import Mutant

TESTS = "tests/models/test_heads.py"

MUTANTS = [
    Mutant(
        "critic_begins_random",
        "make_critic",
        "dict(layers=critic.layers, units=critic.units, outputs=outputs, scale=0.0)",
        "dict(layers=critic.layers, units=critic.units, outputs=outputs, scale=1.0)",
    ),
    Mutant(
        "actor_begins_sure",
        "make_actor",
        "scale=actor.output_scale",
        "scale=1.0",
    ),
]
