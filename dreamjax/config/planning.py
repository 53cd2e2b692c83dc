"""Options of planning in the learned model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dreamjax.config.schema import Options, option, require


@dataclass(frozen=True)
class PlannerConfig(Options):
    """Planning in the learned model before every step: --agent=planner."""

    method: Literal["gumbel", "one_step", "piecewise", "cem"] = option(
        "gumbel",
        "Gumbel tree search; one step of every candidate action (one_step); one round of piecewise-constant sequences, "
        "with the plan of the step before as a further candidate (piecewise); or sequences of actions refined in rounds "
        "(cem).",
    )
    collect: bool = option(False, "Act by the planner while collecting.")
    evaluate: bool = option(False, "Act by the planner in evaluations.")
    num_simulations: int = option(50, "gumbel: model steps of one search.", above=0)
    depth: int = option(0, "gumbel: largest depth of the tree.", unit="steps", at_least=0, zero="no limit")
    actions: int = option(
        32,
        "gumbel, one_step: the likeliest actions of one state, or as many samples where actions cannot be listed.",
        at_least=2,
        zero="all legal actions",
    )
    max_num_considered_actions: int = option(
        4, "gumbel: actions of the root with which sequential halving starts.", at_least=2
    )
    value_scale: float = option(
        0.1, "gumbel: v in the score of an action, log prior + v (maxvisit_init + max visits) q.", at_least=0
    )
    maxvisit_init: float = option(50.0, "gumbel: the offset in that score.", at_least=0)
    bootstrap: float = option(
        1.0, "one_step: weight of the critic's value; 0 acts by the predicted reward.", at_least=0, at_most=1
    )
    act_temperature: float = option(
        0.1, "one_step: temperature of sampled actions.", unit="standard deviations of values", above=0
    )
    horizon: int = option(
        8, "cem, piecewise: steps of a sequence; the critic values what follows.", unit="steps", above=0
    )
    candidates: int = option(64, "cem, piecewise: sequences of each round.", at_least=2)
    iterations: int = option(4, "cem: rounds.", above=0)
    policy_share: float = option(0.25, "cem: fraction of the sequences that follow the actor.", at_least=0, at_most=1)
    elites: int = option(8, "cem: best sequences, which the next round is fitted to.", above=0)

    def check(self) -> None:
        """Raises ConfigError if there are more elites than sequences."""
        if self.method == "cem":
            allowed = f"must be at most candidates={self.candidates} for planner.method='cem'"
            require(self.elites <= self.candidates, "elites", self.elites, allowed)
