"""Options of planning in the learned model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dreamjax.config.schema import Options, option, require


@dataclass(frozen=True)
class SearchConfig(Options):
    """One step of search in the learned model, for actions that can be listed (cells, classes, up to 12 buttons)."""

    learn: Literal["off", "replace", "add"] = option("off", "Learn from searching every replayed state.")
    method: Literal["one_step", "tree"] = option("one_step", "Search that is learned from.")
    simulations: int = option(16, "Model steps of a tree that is learned from.", above=0)
    collect: bool = option(False, "Act by one step of search while collecting.")
    evaluate: bool = option(False, "Act by one step of search in evaluations.")
    actions: int = option(16, "Actions tried at each state that is learned from.", at_least=2)
    act_actions: int = option(64, "Actions tried where it acts.", at_least=2)
    last: int = option(0, "States at the end of each window that are searched.", at_least=0, zero="all")
    temperature: float = option(0.3, "Temperature of the policy that is taught.", above=0)
    act_temperature: float = option(0.1, "Temperature of the policy that collects.", above=0)
    bootstrap: float = option(1.0, "Weight of the critic's value where search acts.", at_least=0, at_most=1)
    trace: float = option(0.0, "Mixing of tree backup (0) and lambda-returns (1).", at_least=0, at_most=1)
    prior: float = option(0.0, "Weight of the actor's log-probability in the policy that is taught.", at_least=0)


@dataclass(frozen=True)
class PlannerConfig(Options):
    """Planning in the learned model before every step: --agent=planner."""

    method: Literal["gumbel", "cem", "mppi", "held"] = option(
        "gumbel",
        "Gumbel tree search; sequences of actions refined in rounds (cem, mppi); or one round of piecewise-constant "
        "sequences, with the plan of the step before as a further candidate (held).",
    )
    collect: bool = option(False, "Act by the planner while collecting.")
    evaluate: bool = option(False, "Act by the planner in evaluations.")
    num_simulations: int = option(50, "gumbel: model steps of one search.", above=0)
    depth: int = option(0, "gumbel: largest depth of the tree.", unit="steps", at_least=0, zero="no limit")
    actions: int = option(
        32,
        "gumbel: the likeliest actions of one node, or as many samples where actions cannot be listed.",
        at_least=2,
        zero="all legal actions",
    )
    considered: int = option(4, "gumbel: actions of the root with which sequential halving starts.", at_least=2)
    value_scale: float = option(
        0.1, "gumbel: v in the score of an action, log prior + v (visit_offset + max visits) q.", at_least=0
    )
    visit_offset: float = option(50.0, "gumbel: the offset in that score.", at_least=0)
    horizon: int = option(
        8, "cem, mppi, held: steps of a sequence; the critic values what follows.", unit="steps", above=0
    )
    candidates: int = option(64, "cem, mppi, held: sequences of each round.", at_least=2)
    iterations: int = option(4, "cem, mppi: rounds.", above=0)
    policy_share: float = option(
        0.25, "cem, mppi: fraction of the sequences that follow the actor.", at_least=0, at_most=1
    )
    elites: int = option(8, "cem: best sequences, which the next round is fitted to.", above=0)
    temperature: float = option(
        0.5, "mppi: temperature of the weights.", unit="standard deviations of returns", above=0
    )
    penalty: float = option(0.0, "Scale of the disagreement subtracted from the rewards of planned steps.", at_least=0)
    limit: float = option(0.0, "Disagreement at which a planned rollout is truncated.", at_least=0, zero="never")

    @property
    def heeds_disagreement(self) -> bool:
        """Whether the ensemble is asked about planned steps."""
        return self.penalty > 0 or self.limit > 0

    def check(self) -> None:
        """Raises ConfigError if there are more elites than sequences."""
        if self.method == "cem":
            allowed = f"must be at most candidates={self.candidates} for planner.method='cem'"
            require(self.elites <= self.candidates, "elites", self.elites, allowed)
