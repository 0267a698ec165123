"""Small statistics of success counts: Wilson intervals, sign tests, how many failures a target allows.

Closed forms without scipy, so that the keeper never waits for an import; the tests hold them against statsmodels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol

from nightlab.records import Outcome, Rate

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the standard normal distribution."""


class Scored(Protocol):
    """What `rate` needs to know of an episode."""

    @property
    def outcome(self) -> Outcome: ...
    @property
    def score(self) -> float: ...
    @property
    def steps(self) -> int: ...


def wilson(successes: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval of a success probability: (low, high), both in [0, 1].

    centre = (p + z²/2n) / (1 + z²/n), half width = z √(p(1-p)/n + z²/4n²) / (1 + z²/n)  (Wilson 1927).
    With n = 0 nothing is known: (0, 1).

    Raises:
        ValueError: if not 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"a Wilson interval needs 0 <= successes <= n, got {successes} of {n}")
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    scale = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / scale
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def rate(episodes: Iterable[Scored], *, extra_unscored: int = 0) -> Rate:
    """Success rate of episodes with its Wilson interval; UNSCORED ones are counted, never averaged.

    Args:
        episodes: anything with `outcome`, `score` and `steps`.
        extra_unscored: unscored attempts that were run again later and are not among `episodes`.
    """
    everything = list(episodes)
    scored = [episode for episode in everything if episode.outcome is not Outcome.UNSCORED]
    unscored = len(everything) - len(scored) + extra_unscored
    successes = sum(episode.outcome is Outcome.SUCCESS for episode in scored)
    low, high = wilson(successes, len(scored))
    return Rate(
        n=len(scored),
        successes=successes,
        unscored=unscored,
        wilson_low=low,
        wilson_high=high,
        wilson_low_unscored_as_failure=wilson(successes, len(scored) + unscored)[0],
        mean_score=sum(episode.score for episode in scored) / len(scored) if scored else None,
        mean_steps=sum(episode.steps for episode in scored) / len(scored) if scored else None,
    )


@lru_cache(maxsize=4096)
def sign_test(wins: int, losses: int) -> float:
    """One-sided p-value of at least `wins` wins in `wins + losses` untied pairs, if both sides were equally likely.

    p = Σ_{k ≥ wins} C(m, k) / 2^m with m = wins + losses; 1.0 without untied pairs. Ties are left out (Dixon & Mood).
    """
    if wins < 0 or losses < 0:
        raise ValueError(f"a sign test needs counts, got {wins} wins and {losses} losses")
    untied = wins + losses
    return sum(math.comb(untied, k) for k in range(wins, untied + 1)) / 2**untied if wins else 1.0


@lru_cache(maxsize=256)
def max_failures(n: int, target: float) -> int:
    """The most failures of `n` with which the Wilson lower bound still reaches `target`; -1 if none does.

    max_failures(400, 0.95) = 11, max_failures(72, 0.95) = 0.
    """
    failures = -1
    while failures < n and wilson(n - failures - 1, n)[0] >= target:
        failures += 1
    return failures


@lru_cache(maxsize=4096)
def pass_probability(successes: int, n: int, planned_n: int, target: float) -> float:
    """Chance that `planned_n` fresh episodes reach `target` (Wilson low), after `successes` of `n`.

    The failure probability has the posterior Beta(1 + failures, 1 + successes) (uniform prior), so the failures among
    the planned episodes are beta-binomial: P(X ≤ max_failures).
    """
    a, b = 1 + n - successes, 1 + successes
    log_norm = _log_beta(a, b)
    return math.fsum(
        math.exp(_log_choose(planned_n, k) + _log_beta(a + k, b + planned_n - k) - log_norm)
        for k in range(max_failures(planned_n, target) + 1)
    )


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
