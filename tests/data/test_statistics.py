from __future__ import annotations

import pytest

from data.pairs import Result
from data.statistics import max_failures, pass_probability, rate, sign_test, wilson
from nightlab.records import Outcome


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (0, 20), (1, 20), (10, 20), (389, 400), (400, 400), (7, 9)])
def test_wilson_agrees_with_statsmodels(successes: int, n: int) -> None:
    from statsmodels.stats.proportion import proportion_confint

    assert wilson(successes, n) == pytest.approx(proportion_confint(successes, n, method="wilson"), abs=1e-12)


def test_wilson_of_nothing_is_everything() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_wilson_refuses_impossible_counts() -> None:
    with pytest.raises(ValueError, match="0 <= successes <= n, got 5 of 3"):
        wilson(5, 3)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (5, 0), (8, 2), (3, 7), (20, 11)])
def test_sign_test_agrees_with_scipy(wins: int, losses: int) -> None:
    from scipy.stats import binomtest

    expected = binomtest(wins, wins + losses, alternative="greater").pvalue if wins + losses else 1.0
    assert sign_test(wins, losses) == pytest.approx(expected)


def test_max_failures_is_the_edge_of_the_target() -> None:
    assert max_failures(400, 0.95) == 11
    assert max_failures(73, 0.95) == 0
    assert max_failures(50, 0.95) == -1
    assert wilson(400 - 11, 400)[0] >= 0.95 > wilson(400 - 12, 400)[0]


def test_pass_probability_agrees_with_scipy() -> None:
    from scipy.stats import betabinom

    for successes, n in [(60, 60), (58, 60), (10, 10), (99, 100)]:
        expected = betabinom(400, 1 + n - successes, 1 + successes).cdf(max_failures(400, 0.95))
        assert pass_probability(successes, n, 400, 0.95) == pytest.approx(expected)


def test_a_rate_counts_unscored_beside_and_never_averages_them() -> None:
    good = Result(outcome=Outcome.SUCCESS, score=0.96, steps=100)
    bad = Result(outcome=Outcome.FAILURE, score=0.5, steps=300)
    lost = Result(outcome=Outcome.UNSCORED, score=0.0, steps=7)
    measured = rate([good, bad, lost], extra_unscored=1)
    assert (measured.n, measured.successes, measured.unscored) == (2, 1, 2)
    assert measured.mean_steps == 200
    assert measured.mean_score == pytest.approx(0.73)
    assert measured.wilson_low_unscored_as_failure == wilson(1, 4)[0] < measured.wilson_low


def test_a_rate_of_nothing_has_no_means() -> None:
    measured = rate([])
    assert (measured.n, measured.mean_score, measured.wilson_high) == (0, None, 1.0)
