from tests.mutants import Mutant

TESTS = "tests/algorithms/test_actor_critic.py"

MUTANTS = [
    Mutant("baseline_of_the_outcome", "actor_loss", "value[:, :-1]", "value[:, 1:]"),
    Mutant("actor_weight_of_the_outcome", "actor_loss", "rollouts.cont[:, :-1]", "rollouts.cont[:, 1:]"),
    Mutant(
        "entropy_penalized",
        "actor_loss",
        "-target * log_prob * sg(advantage) - sg(weight) * entropy_scale * entropy",
        "-target * log_prob * sg(advantage) + sg(weight) * entropy_scale * entropy",
    ),
    Mutant("entropy_unweighted", "actor_loss", "sg(weight) * entropy_scale", "entropy_scale"),
    Mutant("advantage_with_gradient", "actor_loss", "sg(advantage)", "advantage"),
    Mutant("log_prob_without_gradient", "actor_loss", "-target * log_prob", "-target * sg(log_prob)"),
    Mutant("ratio_with_gradient", "actor_loss", "sg(log_prob)", "log_prob"),
    Mutant(
        "ratio_untruncated",
        "actor_loss",
        "jnp.minimum(1.0, jnp.exp(sg(log_prob) - rollouts.log_prob))",
        "jnp.maximum(0.0, jnp.exp(sg(log_prob) - rollouts.log_prob))",
    ),
    Mutant("critic_unweighted", "critic_loss", "sg(weight) * loss", "loss"),
    Mutant(
        "slow_target_swapped",
        "imagined_returns",
        "slow_outputs if slow_target else outputs",
        "outputs if slow_target else slow_outputs",
    ),
    Mutant("targets_with_gradient", "imagined_returns", "sg(returns), sg(value)", "returns, value"),
    Mutant(
        "replay_ends_at_time_limits",
        "replay_returns",
        "is_terminal.astype(jnp.float32)",
        "is_last.astype(jnp.float32)",
        tests="tests/algorithms/test_returns.py",
    ),
    Mutant(
        "replay_through_time_limits", "replay_returns", "is_last=is_last", "", tests="tests/algorithms/test_returns.py"
    ),
]
