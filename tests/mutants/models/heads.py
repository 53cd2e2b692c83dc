from tests.mutants import Mutant

TESTS = "tests/models/test_heads.py"

MUTANTS = [
    Mutant(
        "critic_begins_random",
        "make_critic",
        "_mlp_head(config, config.critic.layers, config.critic.units, outputs, 0.0)",
        "_mlp_head(config, config.critic.layers, config.critic.units, outputs, 1.0)",
    ),
    Mutant(
        "actor_begins_sure",
        "make_actor",
        "_mlp_head(config, actor.layers, actor.units, policy_outputs(spec), actor.output_scale)",
        "_mlp_head(config, actor.layers, actor.units, policy_outputs(spec), 1.0)",
    ),
]
