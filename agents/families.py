"""Thompson sampling over families of ideas.

Each family has a Beta posterior over "an idea of this family is worth keeping". Every prior is uniform, Beta(1, 1):
nothing is known in advance about which family helps. Literature passages add at most half a pseudo-success. A pending
idea counts as half a failure (a constant liar), so that ideas proposed side by side spread out. Families that the
failures at hand speak for are favoured on top, in proportion to their share (`favour`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from agents.history import PENDING_FAILURES, worth
from nightlab.cards import find
from nightlab.records import IdeaSummary, Passage

LITERATURE_WEIGHT = 0.5
FAILURE_FAVOUR = 3.0
"""How much more a family is tried if all failures speak for it: 1 + this."""

FAILURE_FAMILIES: Mapping[str, tuple[str, ...]] = {
    "policy_fault": ("robustness",),
    "out_of_time": ("latency", "tracking", "planning"),
}
"""Families that a failure of any environment speaks for; the environment's own failures stand in its card."""


def failure_families(environment: str) -> dict[str, tuple[str, ...]]:
    """Failure → the families of ideas that it speaks for; of an environment that is not installed, the common ones."""
    about = find(environment)
    own = {name: kind.families for name, kind in about.failures.items()} if about is not None else {}
    return {**FAILURE_FAMILIES, **own}


class Families:
    """Beta posteriors over families, from the ledger's ideas."""

    def __init__(
        self,
        names: Iterable[str],
        ideas: Sequence[IdeaSummary],
        *,
        passages: Sequence[Passage] = (),
        failures: Mapping[str, int] | None = None,
        relevance: Mapping[str, float] | None = None,
        speaks_for: Mapping[str, tuple[str, ...]] = FAILURE_FAMILIES,
    ) -> None:
        self._speaks_for = speaks_for
        self._share = _shares(failures or {})
        self.alpha = {name: 1.0 for name in names}
        self.beta = dict(self.alpha)
        parents = {idea.idea: idea for idea in ideas}
        for idea in ideas:
            if idea.family in self.alpha and idea.mutation:
                value = worth(idea, parents.get(idea.parent or ""))
                says = (relevance or {}).get(idea.idea, 1.0)
                self.alpha[idea.family] += says * (value or 0.0)
                self.beta[idea.family] += PENDING_FAILURES if value is None else says * (1.0 - value)
        for name, bonus in self._bonus(passages).items():
            self.alpha[name] += bonus

    def _bonus(self, passages: Sequence[Passage]) -> dict[str, float]:
        """Pseudo-successes from literature, at most `LITERATURE_WEIGHT` per family."""
        relevance = dict.fromkeys(self.alpha, 0.0)
        for passage in passages:
            for family in passage.families:
                if family in relevance:
                    relevance[family] += max(0.0, passage.relevance)
        most = max(relevance.values(), default=0.0) or 1.0
        return {name: LITERATURE_WEIGHT * value / most for name, value in relevance.items()}

    def favour(self, families: Sequence[str], effect: str = "") -> float:
        """How strongly today's failures speak for an idea; 1 = not at all.

        Adds the share of failures that its families are tagged for × `FAILURE_FAVOUR`, and the share of those that its
        expected effect names.
        """
        favour, effect = 1.0, effect.lower()
        for failure, part in self._share.items():
            favour += FAILURE_FAVOUR * part * bool(set(self._speaks_for.get(failure, ())) & set(families))
            favour += part * (failure.replace("_", " ") in effect)
        return favour

    def mean(self, family: str) -> float:
        """Posterior mean; 0.5 for a family nobody has tried."""
        return self.alpha[family] / (self.alpha[family] + self.beta[family])

    def draw(self, rng: random.Random) -> dict[str, float]:
        """One Thompson sample per family, in the families' order."""
        return {name: rng.betavariate(self.alpha[name], self.beta[name]) for name in self.alpha}


def _shares(failures: Mapping[str, int]) -> dict[str, float]:
    total = sum(count for count in failures.values() if count > 0)
    return {failure: count / total for failure, count in failures.items() if count > 0}
