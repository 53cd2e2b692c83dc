from tests.mutants import Mutant

TESTS = "tests/agents/test_agent.py"

MUTANTS = [
    Mutant("policy_keeps_the_old_state", "policy", "Carry(state, action, plan)", "Carry(carry.state, action, plan)"),
    Mutant("policy_without_real_mask", "policy", "jnp.asarray(obs[MASK_KEY]) > 0", "jnp.asarray(obs[MASK_KEY]) >= 0"),
    Mutant("policy_shares_a_key", "policy", "split[:, 1]", "split[:, 0]", tests="tests/algorithms/test_randomness.py"),
    Mutant(
        "plans_from_the_predicted_mask",
        "policy",
        "make_policy(spec.action, outputs, mask, actor)",
        "make_policy(spec.action, outputs, None, actor)",
        tests="tests/agents/test_planning.py",
    ),
    Mutant(
        "plan_outlives_its_episode",
        "policy",
        "jnp.where(is_first[:, None, None], 0.0, carry.plan)",
        "carry.plan",
        tests="tests/agents/test_planning.py",
    ),
]
