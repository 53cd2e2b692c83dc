from tests.mutants import Mutant

TESTS = "tests/algorithms/test_returns.py"

MUTANTS = [
    Mutant("return_discount_twice", "lambda_return", "gamma * cont[:, 1:]", "gamma * gamma * cont[:, 1:]"),
    Mutant("return_cont_of_the_start", "lambda_return", "cont[:, 1:]", "cont[:, :-1]"),
    Mutant("return_reward_of_the_start", "lambda_return", "reward[:, 1:]", "reward[:, :-1]"),
    Mutant("return_value_of_the_start", "lambda_return", "value[:, 1:]", "value[:, :-1]"),
    Mutant("return_mix_of_the_start", "lambda_return", "discount * mix[:, 1:]", "discount * mix[:, :-1]"),
    Mutant("return_bootstrap_from_the_first", "lambda_return", "value[:, -1]", "value[:, 0]"),
    Mutant(
        "return_through_time_limits", "lambda_return", "jnp.where(is_last, 0.0, mix)", "jnp.where(is_last, mix, mix)"
    ),
    Mutant(
        "return_ends_at_time_limits",
        "lambda_return",
        "gamma * cont[:, 1:]",
        "gamma * cont[:, 1:] * (1.0 if is_last is None else 1.0 - is_last[:, 1:])",
    ),
    Mutant(
        "weights_without_the_start",
        "step_weights",
        "jnp.cumprod(cont, 1)",
        "jnp.cumprod(jnp.roll(cont, 1, 1).at[:, 0].set(1.0), 1)",
    ),
    Mutant(
        "weights_discounted_from_the_start",
        "step_weights",
        "jnp.arange(cont.shape[1], dtype=jnp.float32)",
        "jnp.arange(1, cont.shape[1] + 1, dtype=jnp.float32)",
    ),
]
