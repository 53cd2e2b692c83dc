from tests.mutants import Mutant

TESTS = "tests/experiments/test_baselines.py"

MUTANTS = [
    Mutant(
        "last_sight_is_of_the_next_game", "_step", "flat_observation(config, after)", "flat_observation(config, going)"
    ),
    Mutant(
        "games_measured_beyond_their_end",
        "play",
        "waiting & (turn.terminated | turn.truncated)",
        "turn.terminated | turn.truncated",
    ),
    Mutant("loss_told_as_time_limit", "infos", "bool(turn.truncated[i] and not turn.terminated[i])", "True"),
]
