from __future__ import annotations

import pytest

from data.judge import ConfirmVerdict, SearchVerdict, judge_confirm, judge_final, judge_search
from data.pairs import Level, Pair, Result, compare, make_pairs, tally
from nightlab.records import Decision, Outcome


def result(success: bool = False, score: float = 0.3, steps: int = 300, reason: str = "") -> Result:
    outcome = Outcome.SUCCESS if success else Outcome.FAILURE
    return Result(outcome=outcome, score=0.96 if success else score, steps=steps, reason=reason)


def pair(candidate: Result, incumbent: Result, seed: int = 0) -> Pair:
    return Pair(seed=seed, candidate=candidate, incumbent=incumbent)


GOOD = result(True, steps=100)
WIN = pair(result(True, steps=100), result())
LOSS = pair(result(), result(True, steps=100))
BETTER_SCORE = pair(result(score=0.6), result(score=0.3))
WORSE_SCORE = pair(result(score=0.2), result(score=0.3))
FASTER = pair(result(True, steps=100), result(True, steps=200))
SLOWER = pair(result(True, steps=200), result(True, steps=100))
SAME = pair(result(), result())
ALIKE = pair(result(score=0.301), result(score=0.3))


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (WIN, (1, Level.SUCCESS)), (LOSS, (-1, Level.SUCCESS)), (BETTER_SCORE, (1, Level.SCORE)),
        (FASTER, (1, Level.STEPS)), (SLOWER, (-1, Level.STEPS)), (ALIKE, (0, Level.TIE)),
        (pair(result(True, steps=104), result(True, steps=100)), (0, Level.TIE)),
        (pair(result(steps=10), result(steps=300)), (0, Level.TIE)),
        (pair(GOOD.model_copy(update={"score": 0.99}), GOOD), (0, Level.TIE)),
    ],
)  # fmt: skip
def test_pairs_are_compared_by_success_then_score_then_steps(one: Pair, expected: tuple[int, Level]) -> None:
    assert compare(one) == expected


def test_pairs_drop_unscored_and_keep_the_order_of_the_seeds() -> None:
    lost = Result(outcome=Outcome.UNSCORED, score=0, steps=0)
    ours = {3: result(), 1: result(True), 2: lost}
    pairs, dropped = make_pairs([1, 2, 3, 4], ours, {1: result(), 2: result(), 3: result()})
    assert [one.seed for one in pairs] == [1, 3]
    assert dropped == 1


def test_a_tally_separates_solid_evidence_from_steps() -> None:
    counts = tally([WIN, BETTER_SCORE, FASTER, SLOWER, SAME])
    assert (counts.wins, counts.losses, counts.solid_wins, counts.success_wins) == (3, 1, 2, 1)
    assert (counts.ties, counts.identical) == (1, 1)


def test_nothing_is_decided_below_ten_pairs() -> None:
    assert judge_search([WIN] * 9) is SearchVerdict.CONTINUE
    assert judge_search([WIN] * 9, last=True) is SearchVerdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([WIN] * 10, SearchVerdict.PROMISING),
        ([LOSS] * 10, SearchVerdict.REVERT),
        ([WORSE_SCORE] * 10, SearchVerdict.REVERT),
        ([BETTER_SCORE] * 10, SearchVerdict.PROMISING),
        ([BETTER_SCORE] * 8 + [WORSE_SCORE] * 2, SearchVerdict.PROMISING),
        ([SAME] * 10, SearchVerdict.INCONCLUSIVE),
        ([BETTER_SCORE] * 5 + [WORSE_SCORE] * 5, SearchVerdict.INCONCLUSIVE),
        ([BETTER_SCORE] * 7 + [WORSE_SCORE] * 3, SearchVerdict.CONTINUE),
        ([FASTER] * 10, SearchVerdict.CONTINUE),
        ([FASTER] * 20, SearchVerdict.PROMISING),
        ([FASTER] * 19 + [LOSS], SearchVerdict.INCONCLUSIVE),
        ([LOSS] * 4 + [BETTER_SCORE] * 16, SearchVerdict.REVERT),
        ([LOSS] * 2 + [BETTER_SCORE] * 18, SearchVerdict.INCONCLUSIVE),
        ([LOSS] + [BETTER_SCORE] * 9, SearchVerdict.PROMISING),
    ],
)
def test_search_verdicts(pairs: list[Pair], expected: SearchVerdict) -> None:
    assert judge_search(pairs) is expected


def test_steps_do_not_drown_rare_successes() -> None:
    noisy = [WIN] * 4 + [FASTER, SLOWER] * 13
    assert judge_search(noisy, search_n=80) is SearchVerdict.PROMISING


def test_confirmation_needs_five_fresh_pairs_and_no_lead_of_the_incumbent() -> None:
    search = [WIN] * 10
    assert judge_confirm(search, [WIN] * 4) is ConfirmVerdict.CONTINUE
    assert judge_confirm(search, [WIN] * 5) is ConfirmVerdict.KEEP
    assert judge_confirm(search, [LOSS] * 3 + [WIN] * 2) is ConfirmVerdict.CONTINUE
    assert judge_confirm(search, [LOSS] * 9) is ConfirmVerdict.INCONCLUSIVE


def test_one_lucky_success_of_the_incumbent_does_not_outweigh_every_score() -> None:
    assert judge_confirm([LOSS] + [BETTER_SCORE] * 9, [BETTER_SCORE] * 5) is ConfirmVerdict.KEEP
    assert judge_confirm([LOSS] + [BETTER_SCORE] * 9, [BETTER_SCORE] * 4 + [LOSS]) is ConfirmVerdict.CONTINUE
    assert judge_confirm([BETTER_SCORE] * 10, [BETTER_SCORE] * 10 + [LOSS] * 2) is ConfirmVerdict.INCONCLUSIVE


def test_a_faster_candidate_that_lost_a_success_is_not_kept() -> None:
    search = [FASTER] * 20
    assert judge_confirm(search, [FASTER] * 12) is ConfirmVerdict.KEEP
    assert judge_confirm(search, [FASTER] * 11 + [LOSS]) is ConfirmVerdict.INCONCLUSIVE


def test_keep_tells_why() -> None:
    judgement = judge_final([WIN] * 10, [WIN] * 5, against="I3")
    assert judgement.decision is Decision.KEEP
    assert judgement.reason == (
        "better than I3, confirmed on 5 fresh seeds: 15 won, 0 lost, 0 tied of 15 pairs (by success 15:0)"
    )
    assert (judgement.pairs, judgement.candidate.successes, judgement.incumbent.successes) == (15, 15, 0)
    assert judgement.beats_parent


def test_a_promising_candidate_without_fresh_seeds_is_not_kept() -> None:
    judgement = judge_final([WIN] * 10, [], against="I3")
    assert judgement.decision is Decision.INCONCLUSIVE
    assert judgement.reason.startswith("promising, but only 0 fresh seeds were run")


def test_a_win_over_a_former_incumbent_is_inconclusive_and_worth_offering_again() -> None:
    judgement = judge_final([WIN] * 10, [], against="I3", stale=True)
    assert judgement.decision is Decision.INCONCLUSIVE
    assert judgement.beats_parent
    assert judgement.reason.startswith("better than I3, which is no longer the incumbent")


def test_revert_has_a_histogram_of_failures_and_counts_dropped_pairs() -> None:
    bad = pair(result(reason="rotated"), result(True))
    judgement = judge_final([bad] * 10, [], against="I0", dropped=2)
    assert judgement.decision is Decision.REVERT
    assert judgement.failures == {"rotated": 10}
    assert judgement.reason.endswith("; 2 unscored pairs dropped")
    assert judgement.p_worse < 0.01


def test_the_same_behaviour_is_named() -> None:
    assert judge_final([SAME] * 10, [], against="I0").reason.startswith("behaves exactly like I0")


def test_too_few_pairs_decide_nothing() -> None:
    judgement = judge_final([LOSS] * 6, [], against="I0")
    assert judgement.decision is Decision.INCONCLUSIVE
    assert judgement.reason.startswith("too few pairs with I0 to decide (at least 10)")


def test_the_decision_rests_on_the_first_clear_look() -> None:
    judgement = judge_final([LOSS] * 10 + [WIN] * 10, [], against="I0")
    assert (judgement.decision, judgement.pairs) == (Decision.REVERT, 10)
