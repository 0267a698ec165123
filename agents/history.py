"""What was tried before, as the search needs it: recipes seen, attempts per module, worth per idea."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.catalogue import Catalogue
from agents.recipe import Recipe
from nightlab.records import Decision, IdeaSummary, IterationStatus

_FORGOTTEN = frozenset({IterationStatus.NO_CHANGE, IterationStatus.STOPPED})
_FAILED = frozenset({IterationStatus.CRASHED, IterationStatus.REJECTED, IterationStatus.INVALID})
_NEAR_SCORE = 0.03
"""A loss of mean score up to this is within noise."""
_CLEARLY_MORE = 0.1
"""By so much an idea's success rate must be above the incumbent's for it to replace what the incumbent has changed."""
_HARDLY_RAN = 3
"""An idea that was overtaken before it had so many episodes says nothing: it may be proposed again."""
_FORGETTING = 0.25
"""Gain of success rate plus mean score after which an older result counts 1/e."""
_DOUBT_N = 10
"""Episodes whose weight the belief has that a change does nothing."""
PENDING_FAILURES = 0.5
"""A pending idea counts as half a failure, so that ideas proposed side by side spread out (a constant liar)."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One module tried in one slot, with the other slots as they were then."""

    idea: str
    slot: str
    module: str
    others: frozenset[tuple[str, str]]
    worth: float | None
    """In [0, 1] (see `worth`); None while pending."""
    relevance: float = 1.0
    """How much it still says about today's incumbent, in [0, 1]; see `History.relevance`."""
    lift: float = 0.0
    """Success rate plus mean score above its parent's, drawn to 0 where few episodes say so; in [-2, 2]."""
    displaced: bool = False
    """Not an attempt: the module was replaced by a better one."""
    outclassed: bool = False
    """It lost to a module that a better one has replaced since."""


@dataclass
class History:
    """The ledger's ideas seen from one incumbent."""

    catalogue: Catalogue
    incumbent: Recipe
    ideas: tuple[IdeaSummary, ...]
    seen: set[str] = field(default_factory=set)
    """Signatures of every pending and decided recipe, and of the incumbent."""
    attempts: list[Attempt] = field(default_factory=list)
    success: float = 0.0
    """Success rate of the incumbent in search."""
    relevance: dict[str, float] = field(default_factory=dict)
    """Idea → how much its result still says, in [0, 1]: falls with what the incumbent has gained since. A module that
    did harm to a policy that never succeeded may be just what a better one lacks."""
    slots: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Slot → (gains, failures) of swaps there, each weighed by its relevance; pending ones are half a failure."""

    @classmethod
    def of(cls, catalogue: Catalogue, incumbent: Recipe, name: str, ideas: Sequence[IdeaSummary]) -> History:
        """The history that the ideas tell, with `incumbent` the recipe of the idea called `name`."""
        known = tuple(
            idea if idea.modules else _with_modules(idea, name, incumbent, ideas)
            for idea in ideas
            if not _says_nothing(idea)
        )
        history = cls(catalogue, incumbent, known)
        history.seen.add(incumbent.signature(catalogue))
        by_name = {idea.idea: idea for idea in known}
        line = _ancestry(name, by_name)
        level = _level(by_name.get(name))
        for idea in known:
            if idea.modules:
                history.seen.add(Recipe(idea.modules, idea.params).signature(catalogue))
            if idea.idea == name and idea.n:
                history.success = idea.successes / idea.n
            parent = by_name.get(idea.parent or "")
            age = line.index(idea.parent) if idea.parent in line else len(line)
            relevance = 0.8**age * math.exp(-max(0.0, level - _level(parent)) / _FORGETTING) if level else 0.8**age
            history.relevance[idea.idea] = relevance
            for slot, module in swaps(idea.mutation).items():
                others = frozenset((key, value) for key, value in idea.modules.items() if key != slot)
                value = worth(idea, parent)
                displaced = parent.modules.get(slot) if parent else None
                lost = idea.decision is Decision.REVERT and displaced != incumbent.modules.get(slot)
                attempt = Attempt(
                    idea.idea, slot, module, others, value, relevance, _lift(idea, parent), outclassed=lost
                )
                history.attempts.append(attempt)
                history._learn_slot(slot, value, relevance)
                if displaced and idea.decision is Decision.KEEP:
                    history.attempts.append(Attempt(idea.idea, slot, displaced, others, 0.0, relevance, displaced=True))
        return history

    def _learn_slot(self, slot: str, value: float | None, relevance: float) -> None:
        gains, failures = self.slots.get(slot, (0.0, 0.0))
        gained, lost = (0.0, PENDING_FAILURES) if value is None else (relevance * value, relevance * (1.0 - value))
        self.slots[slot] = gains + gained, failures + lost

    def slot_means(self) -> dict[str, float]:
        """Slot → posterior mean of "a swap here is worth keeping", uniform priors, in the catalogue's order."""
        counts = {slot: self.slots.get(slot, (0.0, 0.0)) for slot in self.catalogue.slots}
        return {slot: (1.0 + gains) / (2.0 + gains + failures) for slot, (gains, failures) in counts.items()}

    def overtaken(self, idea: IdeaSummary) -> bool:
        """Whether the incumbent differs from the idea's parent in what the idea changed, or has the change already.

        Not if the idea succeeded clearly more often than the incumbent does now: then the better one came too late.
        """
        parent = next((known for known in self.ideas if known.idea == idea.parent), None)
        if parent is None:
            return True
        now = self.incumbent.modules
        if any(now.get(slot) == module for slot, module in swaps(idea.mutation).items()):
            return True
        if idea.n and idea.successes / idea.n >= self.success + _CLEARLY_MORE:
            return False
        for slot in swaps(idea.mutation):
            if now.get(slot) != parent.modules.get(slot):
                return True
        knob = idea.mutation.get("knob")
        return knob is not None and self.incumbent.params.get(knob) != parent.params.get(knob)

    def tries(self, slot: str, module: str) -> list[Attempt]:
        """The attempts at a module of a slot, oldest first."""
        return [attempt for attempt in self.attempts if (attempt.slot, attempt.module) == (slot, module)]

    def hope(self, slot: str, module: str) -> float:
        """What a module brought wherever it was tried, newer results first in weight; 0 if nothing is known."""
        tries = self.tries(slot, module)
        weights = [attempt.relevance for attempt in tries]
        return sum(w * attempt.lift for w, attempt in zip(weights, tries, strict=True)) / max(sum(weights), 1.0)

    def others(self, slot: str) -> frozenset[tuple[str, str]]:
        """The incumbent's modules in all slots but one."""
        return frozenset((key, value) for key, value in self.incumbent.modules.items() if key != slot)


def _says_nothing(idea: IdeaSummary) -> bool:
    return idea.status in _FORGOTTEN or (idea.decision is Decision.INCONCLUSIVE and idea.n < _HARDLY_RAN)


def _level(idea: IdeaSummary | None) -> float:
    """Success rate plus mean score; 0 where nothing is known."""
    return idea.successes / idea.n + (idea.mean_score or 0.0) if idea is not None and idea.n else 0.0


def _lift(idea: IdeaSummary, parent: IdeaSummary | None) -> float:
    """What an idea brought to its parent, as far as its episodes can be believed."""
    if parent is None or not parent.n:
        return 0.0
    return idea.n / (idea.n + _DOUBT_N) * (_level(idea) - _level(parent)) if idea.n else 0.0


def _ancestry(name: str, ideas: Mapping[str, IdeaSummary]) -> list[str | None]:
    """The incumbent, its parent, and so on to the baseline."""
    line: list[str | None] = []
    at: str | None = name
    while at is not None and at not in line:
        line.append(at)
        at = ideas[at].parent if at in ideas else None
    return line


def _with_modules(idea: IdeaSummary, name: str, incumbent: Recipe, ideas: Sequence[IdeaSummary]) -> IdeaSummary:
    """The baseline comes without modules: read them off the incumbent's workspace, or off the baseline's children."""
    if idea.idea == name:
        return idea.model_copy(update={"modules": dict(incumbent.modules), "params": dict(incumbent.params)})
    if idea.parent is not None or not idea.n:
        return idea
    modules: dict[str, str] = {}
    for child in ideas:
        if child.parent == idea.idea:
            modules |= {slot: module for slot, module in child.modules.items() if slot not in swaps(child.mutation)}
    return idea.model_copy(update={"modules": modules})


def swaps(mutation: dict[str, Any]) -> dict[str, str]:
    """Slot → module of a structural mutation (`{"slot", "module"}` or `{"swaps": {...}}`); empty for others."""
    slot, module = mutation.get("slot"), mutation.get("module")
    if isinstance(slot, str) and isinstance(module, str):
        return {slot: module}
    many = mutation.get("swaps")
    return {str(key): str(value) for key, value in many.items()} if isinstance(many, dict) else {}


def worth(idea: IdeaSummary, parent: IdeaSummary | None = None) -> float | None:
    """How well an idea did, in [0, 1]; None while it is pending.

    1 kept; .75 beat its parent; .15 inconclusive; .05 reverted, but no worse than its parent within noise; else 0.
    """
    if idea.status in _FAILED:
        return 0.0
    if idea.status is IterationStatus.RUNNING or idea.decision is None:
        return None
    if idea.decision is Decision.KEEP:
        return 1.0
    if idea.beats_parent:
        return 0.75
    if idea.decision is Decision.INCONCLUSIVE:
        return 0.15
    if parent is not None and idea.mean_score is not None and parent.mean_score is not None:
        lost = parent.mean_score - idea.mean_score
        fewer = idea.n and parent.n and idea.successes / idea.n < parent.successes / parent.n - 0.1
        return 0.05 if lost <= _NEAR_SCORE and not fewer else 0.0
    return 0.0


def adoptable(ideas: Iterable[IdeaSummary]) -> list[IdeaSummary]:
    """Ideas that beat their parent but were not kept: worth adopting onto the incumbent, best first."""
    won = [idea for idea in ideas if idea.beats_parent and idea.decision is not Decision.KEEP and idea.mutation]
    return sorted(
        won, key=lambda idea: (-(idea.successes / idea.n if idea.n else 0.0), -(idea.mean_score or 0.0), idea.idea)
    )
