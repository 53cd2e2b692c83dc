from tests.mutants import Mutant

TESTS = "tests/algorithms/test_imagination.py"

MUTANTS = [
    Mutant("feat_of_the_outcome", "imagine", "t + 1", "t"),
    Mutant(
        "mask_of_the_outcome",
        "imagine",
        "(action, policy.log_prob(action), mask, aux)",
        "(action, policy.log_prob(action), legal(feat), aux)",
    ),
    Mutant(
        "policy_without_mask",
        "imagine",
        "policy_fn(feat, mask)",
        "policy_fn(feat, None if mask is None else mask | True)",
    ),
    Mutant("start_mask_unused", "imagine", "start_mask if start_mask is not None else legal(feat)", "legal(feat)"),
    Mutant(
        "imagination_with_gradient",
        "imagine",
        "jax.tree.map(jax.lax.stop_gradient, (rollouts, aux))",
        "(rollouts, aux)",
    ),
    Mutant(
        "action_and_outcome_share_a_key",
        "imagine",
        "split[:, 1]",
        "split[:, 0]",
        tests="tests/algorithms/test_randomness.py",
    ),
    Mutant("activations_of_the_step_before", "imagine", "[x, jnp.zeros_like(x[:1])]", "[jnp.zeros_like(x[:1]), x]"),
]
