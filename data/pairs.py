"""Results of episodes and pairs of them: candidate and incumbent on the same seed, compared word by word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from nightlab.records import EpisodeRecord, Outcome, Record

SCORE_MARGIN = 0.02
"""Verifier scores closer than this are a tie."""
STEPS_MARGIN = 0.05
"""Episode lengths closer than this share of the longer one are a tie."""


class Result(Record):
    """What one episode came to, as far as decisions look at it."""

    outcome: Outcome
    score: float
    steps: int
    reason: str = ""
    """The verifier's word for a failure; goes into the failure histogram."""
    station: str = ""
    station_seed: int | None = None

    @classmethod
    def of(cls, episode: EpisodeRecord) -> Result:
        """The result of a recorded episode."""
        return cls(
            outcome=episode.verdict.outcome,
            score=episode.verdict.score,
            steps=episode.steps,
            reason=episode.verdict.reason,
            station=episode.key.station,
            station_seed=episode.station_seed,
        )


class Pair(Record):
    """Candidate and incumbent, both scored, from the same start."""

    seed: int
    candidate: Result
    incumbent: Result


class Level(IntEnum):
    """Which word of the comparison decided a pair."""

    TIE = 0
    STEPS = 1
    SCORE = 2
    SUCCESS = 3


def compare(pair: Pair) -> tuple[int, Level]:
    """Lexicographic comparison: (sign, level); sign is +1 if the candidate is better, -1 if worse, 0 for a tie.

    First success. If both failed, the verifier's score tells who came nearer (a difference above `SCORE_MARGIN`). If
    both succeeded, the number of steps tells who was faster (a difference above `STEPS_MARGIN` of the longer episode).
    """
    ours, theirs = pair.candidate, pair.incumbent
    succeeded = ours.outcome is Outcome.SUCCESS, theirs.outcome is Outcome.SUCCESS
    if succeeded[0] != succeeded[1]:
        return (1 if succeeded[0] else -1), Level.SUCCESS
    if not succeeded[0] and abs(ours.score - theirs.score) > SCORE_MARGIN:
        return (1 if ours.score > theirs.score else -1), Level.SCORE
    if succeeded[0] and abs(ours.steps - theirs.steps) > STEPS_MARGIN * max(ours.steps, theirs.steps):
        return (1 if ours.steps < theirs.steps else -1), Level.STEPS
    return 0, Level.TIE


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts over pairs: all wins and losses, those beyond mere steps, those by success, and plain successes."""

    n: int = 0
    wins: int = 0
    losses: int = 0
    solid_wins: int = 0
    """Won by success or score."""
    solid_losses: int = 0
    success_wins: int = 0
    success_losses: int = 0
    identical: int = 0
    """Same outcome, score and steps to the last digit: most likely the same behaviour."""

    @property
    def ties(self) -> int:
        return self.n - self.wins - self.losses

    @property
    def success_margin(self) -> int:
        """Successes of the candidate minus those of the incumbent."""
        return self.success_wins - self.success_losses

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


def tally(pairs: Sequence[Pair]) -> Tally:
    """Count wins and losses of the candidate over pairs."""
    signs = [compare(pair) for pair in pairs]

    def count(sign: int, level: Level) -> int:
        return sum(s == sign and at >= level for s, at in signs)

    return Tally(
        n=len(pairs),
        wins=count(1, Level.STEPS),
        losses=count(-1, Level.STEPS),
        solid_wins=count(1, Level.SCORE),
        solid_losses=count(-1, Level.SCORE),
        success_wins=count(1, Level.SUCCESS),
        success_losses=count(-1, Level.SUCCESS),
        identical=sum(_identical(pair) for pair in pairs),
    )


def make_pairs(
    seeds: Sequence[int], candidate: Mapping[int, Result], incumbent: Mapping[int, Result]
) -> tuple[list[Pair], int]:
    """Pairs in the order of `seeds` where both were scored, and how many were dropped because one is UNSCORED.

    A seed that either side has not run yet is no pair and not counted.
    """
    pairs: list[Pair] = []
    dropped = 0
    for seed in seeds:
        ours, theirs = candidate.get(seed), incumbent.get(seed)
        if ours is None or theirs is None:
            continue
        if Outcome.UNSCORED in (ours.outcome, theirs.outcome):
            dropped += 1
        else:
            pairs.append(Pair(seed=seed, candidate=ours, incumbent=theirs))
    return pairs, dropped


def _identical(pair: Pair) -> bool:
    ours, theirs = pair.candidate, pair.incumbent
    return (ours.outcome, ours.score, ours.steps) == (theirs.outcome, theirs.score, theirs.steps)
