"""One held-out draw: fresh seeds, declared in number before the first episode, handed out in chunks."""

from __future__ import annotations

from dataclasses import dataclass, field

from data.pairs import Result
from data.statistics import max_failures, rate
from nightlab.records import Outcome, Rate, Work


@dataclass(slots=True)
class HeldOutDraw:
    """A measurement of one idea on `planned_n` seeds nobody searched on.

    Its only early stop is futility (more failures than the target allows), which can never turn into a pass. The
    `final` draw of a campaign has none, because its rate is reported even if the target is missed.
    """

    number: int
    idea: str
    planned_n: int
    target: float
    final: bool = False
    seeds: list[int] = field(default_factory=list)
    """In the order they were handed out, without repetition."""
    results: dict[int, Result] = field(default_factory=dict)
    unscored: int = 0
    _claims: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)

    def claim(self, work: Work) -> None:
        """Note that a chunk was handed out."""
        self._claims[work.iteration] = work.seeds
        self.seeds.extend(seed for seed in work.seeds if seed not in set(self.seeds))

    def owns(self, iteration: str) -> bool:
        """True if the iteration runs a chunk of this draw."""
        return iteration in self._claims

    def add(self, seed: int, result: Result) -> None:
        """Take a result; the first scored one of a seed stays."""
        if result.outcome is Outcome.UNSCORED:
            self.unscored += 1
        else:
            self.results.setdefault(seed, result)

    def end(self, iteration: str) -> None:
        """Note that a chunk's iteration ended, finished or not."""
        self._ended.add(iteration)

    def forget(self, iteration: str) -> None:
        """Take back the results of a chunk whose iteration ended as INVALID; its seeds are handed out again."""
        for seed in self._claims.get(iteration, ()):
            self.results.pop(seed, None)

    @property
    def missing(self) -> tuple[int, ...]:
        """Seeds of ended chunks that have no scored result: to be handed out again."""
        busy = {seed for name, seeds in self._claims.items() if name not in self._ended for seed in seeds}
        return tuple(seed for seed in self.seeds if seed not in self.results and seed not in busy)

    @property
    def undrawn(self) -> int:
        """Seeds that are still to be drawn."""
        return max(0, self.planned_n - len(self.seeds))

    @property
    def rate(self) -> Rate:
        """The rate over what has been scored so far."""
        return rate(self.results.values(), extra_unscored=self.unscored)

    @property
    def failures(self) -> int:
        return sum(result.outcome is not Outcome.SUCCESS for result in self.results.values())

    @property
    def complete(self) -> bool:
        """Every declared episode is scored."""
        return len(self.results) >= self.planned_n

    @property
    def passed(self) -> bool:
        """Complete, and the Wilson lower bound reaches the target."""
        return self.complete and self.rate.wilson_low >= self.target

    @property
    def futile(self) -> bool:
        """It can no longer pass."""
        return self.failures > max_failures(self.planned_n, self.target)

    @property
    def open(self) -> bool:
        """There is more of it to run."""
        return not self.complete and (self.final or not self.futile)
