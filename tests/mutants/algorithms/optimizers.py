from tests.mutants import Mutant

TESTS = "tests/algorithms/test_optimizers.py"

MUTANTS = [
    Mutant("laprop_eps_inside", "make_optimizer", "eps_in_sqrt=False", "eps_in_sqrt=True"),
    Mutant("laprop_no_debias", "make_optimizer", "debias=True", "debias=False"),
    Mutant("laprop_no_correction", "make_optimizer", "bias_correction=True", "bias_correction=False"),
    Mutant(
        "agc_by_row",
        "norms",
        "jnp.linalg.norm(part.reshape(-1))",
        "jnp.linalg.norm(part, axis=-1, keepdims=True)",
    ),
    Mutant(
        "agc_of_each_array",  # difference 2
        "norms",
        "jnp.linalg.norm(jnp.stack([result[path, 0] for path in paths]))",
        "result[paths[0], 0]",
        tests="tests/conformance/test_numbers.py::test_updates",
    ),
    Mutant("agc_min_norm", "clip_by_tensor", "1e-3", "1e-1"),
    Mutant(
        "agc_lengthens",
        "clip_by_tensor",
        "jnp.maximum(1.0, update_norms[name] / allowed)",
        "jnp.maximum(0.1, update_norms[name] / allowed)",
    ),
    Mutant(
        "warm_up_from_full",
        "make_optimizer",
        "optax.linear_schedule(0.0, learning_rate, max(1, config.warmup), transition_begin=begin)",
        "optax.linear_schedule(learning_rate, learning_rate, max(1, config.warmup), transition_begin=begin)",
    ),
    Mutant("actor_waits_for_nothing", "make_optimizer", "transition_begin=begin", "transition_begin=0"),
]
