"""Seeds of evaluation and of training are disjoint."""

import pytest

from dreamjax.config import Config, ConfigError
from dreamjax.seeds import EVALUATION, TRAINING, derived_seed, evaluation_seed


def test_seeds_of_evaluation_and_training_are_disjoint():
    # The greatest seed of a run, in the last of a million environments.
    assert TRAINING - 1 + 1_000_000 < EVALUATION == evaluation_seed(0)
    assert evaluation_seed(7) == EVALUATION + 7 == evaluation_seed(EVALUATION + 7)
    assert evaluation_seed(20_000_000) == 20_000_000  # published
    Config(seed=TRAINING - 1)
    with pytest.raises(ConfigError, match=f"seed={TRAINING} is not allowed"):
        Config(seed=TRAINING)


def test_derived_seeds_stay_in_their_range():
    drawn = [derived_seed(3, i) for i in range(2000)]
    assert len(set(drawn)) > 1990 and all(0 <= seed < TRAINING for seed in drawn)
    assert max(drawn) > 0.99 * TRAINING
    assert derived_seed(3, 1) == drawn[1] != derived_seed(3, 1, 1)
    assert all(EVALUATION <= derived_seed(EVALUATION, i) < 2**31 for i in range(2000))
