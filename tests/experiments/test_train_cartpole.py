"""The example without the trainer: short enough to read at once, and it learns from what it collects."""

from __future__ import annotations

import inspect
import math
import re

from experiments import train_cartpole
from tests.helpers.configs import make_tiny_config


def test_the_example_trains(capsys):
    config = make_tiny_config(env={"id": "CartPole-v1"})
    returns = train_cartpole.train(config, num_steps=401)
    assert len(returns) > 4 and all(1 <= value <= 500 for value in returns)
    loss, mean = re.search(r"step 400: loss ([-\d.]+), mean return ([\d.]+)", capsys.readouterr().out).groups()
    assert math.isfinite(float(loss)) and float(mean) > 1


def test_the_example_takes_40_lines_or_fewer():
    assert len(inspect.getsource(train_cartpole).splitlines()) <= 40
