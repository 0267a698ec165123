"""The pre-declared sequential paired test that decides KEEP, REVERT or INCONCLUSIVE. Pure functions of the ledger.

A pair is compared by success, then by score if both failed, by steps if both succeeded (data/pairs.py). Two stages, on
shared seeds:

1. Search, looked at after every pair from `MIN_PAIRS` on, with sign tests on untied pairs: clearly worse → REVERT,
   clearly better → PROMISING, no way left to become clearly better → REVERT or INCONCLUSIVE.
2. Confirmation of a PROMISING candidate on fresh seeds, both policies run anew. KEEP needs all pairs together below
   `ALPHA_KEEP`, wins ≥ losses on the fresh seeds, and as many successes as the incumbent, fresh and overall, but for one.

Success and score are *solid* evidence and are tested by themselves, so that the noise of steps cannot drown them; success
is also tested alone, so that the noise of scores cannot drown it. Steps never outvote success: a candidate that is only
faster needs at least `FASTER_PAIRS` search pairs, every confirmation pair, and must have won as many successes as it lost.
Under no difference the whole procedure keeps at most 5 % of candidates: tests/data/test_judge_errors.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from data.pairs import Pair, Tally, tally
from data.statistics import rate, sign_test
from nightlab.records import Decision, Judgement, Outcome

MIN_PAIRS = 10
"""No decision rests on fewer pairs."""
MIN_CONFIRM = 5
"""Fresh pairs a KEEP needs at least."""
FASTER_PAIRS = 20
"""Search pairs that a candidate needs which is only faster."""
ALPHA_LOOK = 0.0626
"""One-sided level of each look in the search stage: 8 of 10, or 4 of 4 where most pairs are ties."""
ALPHA_LOOK_SUCCESS = 0.055
"""The same for success alone: 5 of 5, 8 of 10."""
ALPHA_KEEP = 0.02
"""One-sided level that all pairs together must reach for a KEEP: 6 of 6, 8 of 9."""
LUCK = 1
"""Successes fewer than the incumbent's that do not stand against clear evidence by score: one alone may be luck."""
ALPHA_REVERT = 0.2
"""At the end of a search without promise: REVERT below this p of being worse, else INCONCLUSIVE."""
FUTILE = 0.25
"""The search stops when even an optimistic projection to its end stays above this p."""


class SearchVerdict(StrEnum):
    """What the search stage says after the pairs so far."""

    CONTINUE = "continue"
    REVERT = "revert"
    INCONCLUSIVE = "inconclusive"
    PROMISING = "promising"


class ConfirmVerdict(StrEnum):
    """What the confirmation stage says after the fresh pairs so far."""

    CONTINUE = "continue"
    KEEP = "keep"
    INCONCLUSIVE = "inconclusive"


def judge_search(pairs: Sequence[Pair], *, search_n: int = 20, last: bool = False) -> SearchVerdict:
    """The search stage after `pairs`, in the order of the plan's seeds; CONTINUE below `MIN_PAIRS`.

    Args:
        pairs: the pairs so far.
        search_n: pairs at most.
        last: no further pair will come (pairs may be fewer than `search_n` when some were unscored).
    """
    if len(pairs) < MIN_PAIRS:
        return SearchVerdict.INCONCLUSIVE if last else SearchVerdict.CONTINUE
    t = tally(pairs)
    done = last or t.n >= search_n
    clear = _clear(t)
    if clear is not None:
        return clear
    if done or t.wins == t.losses == 0 or _futile(t, search_n):
        return SearchVerdict.REVERT if _p_worse(t) <= ALPHA_REVERT else SearchVerdict.INCONCLUSIVE
    return SearchVerdict.CONTINUE


def judge_confirm(search: Sequence[Pair], confirm: Sequence[Pair], *, confirm_n: int = 12) -> ConfirmVerdict:
    """The confirmation stage after the fresh pairs `confirm`, given the search pairs that were PROMISING."""
    fresh = tally(confirm)
    everything = tally(search) + fresh
    done = fresh.n >= confirm_n
    if fresh.n < min(MIN_CONFIRM, confirm_n):
        return ConfirmVerdict.CONTINUE
    holds = fresh.solid_wins >= fresh.solid_losses and min(fresh.success_margin, everything.success_margin) >= -LUCK
    if holds and _better(everything):
        return ConfirmVerdict.KEEP
    if done:
        holds = holds and fresh.wins >= fresh.losses and _may_be_faster(everything)
        faster = sign_test(everything.wins, everything.losses) <= ALPHA_KEEP
        return ConfirmVerdict.KEEP if holds and faster else ConfirmVerdict.INCONCLUSIVE
    left = confirm_n - fresh.n
    solid = fresh.solid_wins + left >= fresh.solid_losses and _better(everything, left)
    faster = _may_be_faster(everything) and fresh.wins + left >= fresh.losses
    faster = faster and sign_test(everything.wins + left, everything.losses) <= ALPHA_KEEP
    return ConfirmVerdict.CONTINUE if solid or faster else ConfirmVerdict.INCONCLUSIVE


def search_prefix(pairs: Sequence[Pair], *, search_n: int = 20) -> tuple[SearchVerdict, Sequence[Pair]]:
    """What the finished search stage came to, and the pairs that it rests on.

    The first clear look counts (REVERT or PROMISING); without one, all pairs. Giving up early as futile is the trial's
    own affair: where it went on, it had more seeds planned.
    """
    for n in range(MIN_PAIRS, len(pairs)):
        clear = _clear(tally(pairs[:n]))
        if clear is not None:
            return clear, pairs[:n]
    return judge_search(pairs, search_n=search_n, last=True), pairs


def judge_final(
    search: Sequence[Pair],
    confirm: Sequence[Pair],
    *,
    against: str,
    search_n: int = 20,
    confirm_n: int = 12,
    stale: bool = False,
    dropped: int = 0,
) -> Judgement:
    """The decision about a candidate from all its pairs, in the order of their seeds.

    Args:
        search: pairs on the search block.
        confirm: pairs on fresh confirmation seeds; ignored unless the search was PROMISING.
        against: the idea it was compared with.
        search_n: search pairs at most, as in the plan.
        confirm_n: fresh pairs at most, as in the plan.
        stale: `against` is no longer the incumbent: a win is INCONCLUSIVE with `beats_parent`.
        dropped: pairs left out because one side was UNSCORED.
    """
    verdict, used = search_prefix(search, search_n=search_n)
    fresh: Sequence[Pair] = ()
    beats = False
    if verdict is SearchVerdict.PROMISING:
        decision, fresh, reason, beats = _confirmed(used, confirm, confirm_n, stale, against)
    elif verdict is SearchVerdict.REVERT:
        decision, reason = Decision.REVERT, f"worse than {against}"
    elif len(used) < MIN_PAIRS:
        decision, reason = Decision.INCONCLUSIVE, f"too few pairs with {against} to decide (at least {MIN_PAIRS})"
    else:
        decision = Decision.INCONCLUSIVE
        same = tally(used).identical == len(used)
        reason = f"behaves exactly like {against}" if same else f"no clear difference from {against}"
    pairs = [*used, *fresh]
    t = tally(pairs)
    failures = Counter(p.candidate.reason or "failed" for p in pairs if p.candidate.outcome is not Outcome.SUCCESS)
    return Judgement(
        decision=decision,
        reason=f"{reason}: {_words(t)}" + (f"; {dropped} unscored pairs dropped" if dropped else ""),
        against=against,
        pairs=t.n,
        wins=t.wins,
        losses=t.losses,
        p_better=sign_test(t.wins, t.losses),
        p_worse=sign_test(t.losses, t.wins),
        candidate=rate(pair.candidate for pair in pairs),
        incumbent=rate(pair.incumbent for pair in pairs),
        beats_parent=beats,
        failures=dict(failures),
    )


def _confirmed(
    search: Sequence[Pair], confirm: Sequence[Pair], confirm_n: int, stale: bool, against: str
) -> tuple[Decision, Sequence[Pair], str, bool]:
    """Decision, the fresh pairs it rests on, the reason, and whether the parent was beaten."""
    verdict, fresh = ConfirmVerdict.CONTINUE, confirm
    for n in range(len(confirm) + 1):
        verdict = judge_confirm(search, confirm[:n], confirm_n=confirm_n)
        if verdict is not ConfirmVerdict.CONTINUE:
            fresh = confirm[:n]
            break
    if stale and verdict is not ConfirmVerdict.INCONCLUSIVE:
        return Decision.INCONCLUSIVE, fresh, f"better than {against}, which is no longer the incumbent", True
    if verdict is ConfirmVerdict.KEEP:
        return Decision.KEEP, fresh, f"better than {against}, confirmed on {len(fresh)} fresh seeds", True
    if verdict is ConfirmVerdict.INCONCLUSIVE:
        return Decision.INCONCLUSIVE, fresh, f"promising, but {len(fresh)} fresh seeds did not confirm it", False
    return Decision.INCONCLUSIVE, fresh, f"promising, but only {len(fresh)} fresh seeds were run", False


def _better(t: Tally, more: int = 0) -> bool:
    """True if success and score, or success alone, reach the level of a KEEP, were `more` further pairs won."""
    solid, success = (t.solid_wins, t.solid_losses), (t.success_wins, t.success_losses)
    return min(sign_test(wins + more, losses) for wins, losses in (solid, success)) <= ALPHA_KEEP


def _clear(t: Tally) -> SearchVerdict | None:
    """REVERT or PROMISING where one look is clear, else None."""
    if min(sign_test(t.solid_losses, t.solid_wins), sign_test(t.success_losses, t.success_wins)) <= ALPHA_LOOK:
        return SearchVerdict.REVERT
    solid = sign_test(t.solid_wins, t.solid_losses) <= ALPHA_LOOK and t.success_margin >= -LUCK
    success = sign_test(t.success_wins, t.success_losses) <= ALPHA_LOOK_SUCCESS and t.solid_wins >= t.solid_losses
    if solid or success:
        return SearchVerdict.PROMISING
    if t.n >= FASTER_PAIRS and _may_be_faster(t) and sign_test(t.wins, t.losses) <= ALPHA_LOOK:
        return SearchVerdict.PROMISING
    return None


def _may_be_faster(t: Tally) -> bool:
    """True if steps may decide: successes lost are outweighed by successes won, and so is all solid evidence."""
    return t.success_margin >= 0 and t.solid_wins >= t.solid_losses


def _p_worse(t: Tally) -> float:
    """The smallest p of being worse, by all words, by success and score, by success."""
    pairs = ((t.losses, t.wins), (t.solid_losses, t.solid_wins), (t.success_losses, t.success_wins))
    return min(sign_test(*counts) for counts in pairs)


def _futile(t: Tally, search_n: int) -> bool:
    """True if the pairs left, won at an optimistic rate, would not make the candidate promising."""

    def projected(wins: int, losses: int) -> float:
        left = search_n - t.n
        return sign_test(wins + round(left * (wins + 1) / (t.n + 2)), losses + round(left * losses / t.n))

    faster = projected(t.wins, t.losses) if _may_be_faster(t) else 1.0
    solid = min(projected(t.solid_wins, t.solid_losses), projected(t.success_wins, t.success_losses))
    return min(solid, faster) > FUTILE


def _words(t: Tally) -> str:
    success = f" (by success {t.success_wins}:{t.success_losses})" if t.success_wins or t.success_losses else ""
    return f"{t.wins} won, {t.losses} lost, {t.ties} tied of {t.n} pairs{success}"
