from tests.mutants import Mutant

TESTS = "tests/training/storage/test_beginnings.py"

MUTANTS = [
    Mutant("a_warm_critic_with_a_cold_target", "apply", 'slow = jax.tree.map(jnp.copy, params["critic"])', ""),
]
