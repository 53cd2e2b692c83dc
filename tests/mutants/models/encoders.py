from tests.mutants import Mutant

TESTS = "tests/models/test_encoders.py"

MUTANTS = [
    Mutant("bytes_unscaled", "preprocess", "x.astype(jnp.float32) / 255", "x.astype(jnp.float32)"),
    Mutant("one_hot_on_the_wrong_axis", "preprocess", "axis=-3", "axis=-1"),
    Mutant("vectors_not_symlog", "Encoder.__call__", "symlog(x) if config.symlog else x", "x"),
]
