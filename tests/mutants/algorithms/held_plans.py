from tests.mutants import Mutant

TESTS = "tests/algorithms/test_held_plans.py"

MUTANTS = [
    Mutant("held_worth_of_the_end", "best_beginning", "jnp.max(worth, 0)", "worth[-1]"),
    Mutant("held_worth_undiscounted", "best_beginning", "weight * value", "value"),
    Mutant("held_plan_stands_still", "plan_held", "[plan[:, 1:], plan[:, -1:]]", "[plan[:, :1], plan[:, 1:]]"),
    Mutant("held_parts_change_together", "draw_held", '1 if part.kind == "categorical" else part.size', "1"),
    Mutant(
        "held_presses_what_is_kept_away",
        "press_odds",
        "jnp.minimum(0.5, jnp.stack([begins, config.planner.horizon * begins]))",
        "jnp.maximum(0.1, jnp.stack([begins, config.planner.horizon * begins]))",
    ),
    Mutant(
        "held_rare_presses_at_once",
        "press_odds",
        "[begins, config.planner.horizon * begins]",
        "[config.planner.horizon * begins, config.planner.horizon * begins]",
    ),
    Mutant(
        "held_without_the_actor",
        "plan_held",
        "draw_held(spec, draws, count - 1, horizon, press_odds(config, bits)).at[:, 0, 0].set(mode)",
        "draw_held(spec, draws, count - 1, horizon, press_odds(config, bits))",
    ),
    Mutant(
        "held_luck_of_its_own",
        "plan_held",
        "state, luck = jax.tree.map(repeat, (state, luck))",
        "state = jax.tree.map(repeat, state); luck = jax.random.split(luck[0], rows * count)",
    ),
]
