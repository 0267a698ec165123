"""Error rates of the whole decision procedure, by simulation: the claim of at most 5 % false KEEPs rests on this."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from data.judge import ConfirmVerdict, SearchVerdict, judge_confirm, judge_search
from data.pairs import Pair, Result
from nightlab.records import Outcome

RUNS = 600


def run(rng: random.Random, ours: float, theirs: float, scores: float, search_n: int, confirm_n: int) -> str:
    """One trial; success probabilities of both, and the candidate's mean lead in score among failures."""

    def episode(success: float, lead: float) -> Result:
        if rng.random() < success:
            return Result(outcome=Outcome.SUCCESS, score=0.96, steps=int(100 * rng.lognormvariate(0, 0.3)))
        score = min(0.94, max(0.0, 0.5 + lead + rng.gauss(0, 0.15)))
        return Result(outcome=Outcome.FAILURE, score=score, steps=300)

    def pair() -> Pair:
        return Pair(seed=0, candidate=episode(ours, scores), incumbent=episode(theirs, 0.0))

    search: list[Pair] = []
    verdict = SearchVerdict.CONTINUE
    while verdict is SearchVerdict.CONTINUE:
        search.append(pair())
        verdict = judge_search(search, search_n=search_n)
    if verdict is not SearchVerdict.PROMISING:
        return verdict.value
    confirm: list[Pair] = []
    confirmed = ConfirmVerdict.CONTINUE
    while confirmed is ConfirmVerdict.CONTINUE:
        confirm.append(pair())
        confirmed = judge_confirm(search, confirm, confirm_n=confirm_n)
    return confirmed.value


def shares(ours: float, theirs: float, lead: float = 0.0, search_n: int = 20, confirm_n: int = 12) -> Counter[str]:
    rng = random.Random(f"{ours} {theirs} {lead}")
    counts = Counter(run(rng, ours, theirs, lead, search_n, confirm_n) for _ in range(RUNS))
    return Counter({name: count / RUNS for name, count in counts.items()})  # type: ignore[misc]


@pytest.mark.parametrize("success", [0.0, 0.3, 0.6, 0.9, 0.97])
def test_no_difference_is_kept_in_at_most_five_percent(success: float) -> None:
    assert shares(success, success)["keep"] <= 0.05


@pytest.mark.parametrize("success", [0.85, 0.93, 0.97])
def test_no_difference_is_rarely_kept_in_long_trials_either(success: float) -> None:
    assert (
        shares(success, success, search_n=120, confirm_n=60)["keep"] <= 0.05 + 0.018
    )  # two standard errors of 600 runs


@pytest.mark.parametrize(("ours", "theirs", "lead"), [(0.0, 0.0, 0.5), (0.7, 0.0, 0.0), (0.95, 0.4, 0.0)])
def test_large_gains_are_kept(ours: float, theirs: float, lead: float) -> None:
    assert shares(ours, theirs, lead)["keep"] >= 0.85


def test_successes_count_among_noisy_scores() -> None:
    assert shares(0.25, 0.0)["keep"] >= 0.5  # by success and score together it would be 0.23
    assert shares(0.6, 0.25)["keep"] >= 0.6


@pytest.mark.parametrize(("ours", "theirs", "lead"), [(0.0, 0.0, -0.4), (0.0, 0.6, 0.0), (0.2, 0.9, 0.0)])
def test_clear_harm_is_reverted_and_never_kept(ours: float, theirs: float, lead: float) -> None:
    found = shares(ours, theirs, lead)
    assert found["revert"] >= 0.85
    assert found["keep"] == 0


def test_a_rare_failure_that_goes_away_is_found_by_long_trials() -> None:
    assert shares(0.997, 0.9, search_n=120, confirm_n=60)["keep"] >= 0.6
