"""The adaptive window: how many ideas are prepared at once, so that a robot never waits for one. Pure.

ceil((think + train) / trial) + 1 ideas per station are in preparation or wait for a robot, by the times measured so far,
beside the one at the robot. Where preparation is shorter than a trial they are two in all, the one at the robot included:
more would only be older. `CampaignSpec.window` fixes the number instead; `window` in lab.yaml and the token budget can
only make it smaller. Ideas are begun one by one as trials end: to stop while some are ready and to begin many at once
afterwards would let robots wait for a whole think time.
"""

from __future__ import annotations

import math

from data.campaign_state import CampaignState
from data.judge import MIN_PAIRS
from data.work_state import WorkState
from nightlab.records import IterationStatus, WorkKind

MOST = 32
"""Ideas under way per station at most."""
LATEST = 40
"""Times are means over so many of the latest ideas."""
WITHOUT_ROBOT = ("verify", "summarize")
"""Stages in which an idea has left its robot and needs none any more."""
FRUITLESS = (IterationStatus.NO_CHANGE, IterationStatus.CRASHED, IterationStatus.REJECTED, IterationStatus.INVALID)
"""Ends that brought no result: several in a row slow a station's search down, and nothing else of what it does."""
PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Pause after two fruitless ideas in a row, doubled with each further one, at most so long; wall seconds."""
UNBEGUN = 2
"""So many ideas that were claimed and have not begun keep a station from claiming another: its host is behind."""
LATE_S = 600.0
"""A claim that has not begun by then perhaps never will, and keeps nobody from anything; wall seconds."""
ENOUGH = 5
"""From so many finished preparations on, those that are still under way no longer count in their mean."""


def preparation_s(state: CampaignState, now_s: float) -> float:
    """Mean wall seconds from an idea's first stage to having it trained and checked; 0 before any was begun.

    What only grows with the number of ideas under way is left out, or a busy host would call for ever more of them: how
    long a claim waits for its first stage, and a stage for a processor. While few are known, those under way count with
    the time that they have taken so far.
    """
    searches = [w for w in state.works.values() if w.work.kind is WorkKind.SEARCH and w.begun_s and w.claims == 1]
    done = [work.ready_s - work.begun_s - work.waited_s for work in searches if work.ready_s][-LATEST:]
    if len(done) < ENOUGH:
        done += [now_s - work.begun_s for work in searches if not work.ready_s and not work.ended]
    return sum(done) / len(done) if done else 0.0


def trial_s(state: CampaignState) -> float:
    """Mean wall seconds that a trial keeps its robot; before the first one, of the fewest episodes that decide."""
    busy = [w.busy_s for w in state.works.values() if w.work.kind is WorkKind.SEARCH and w.ended and w.busy_s > 0]
    busy = busy[-LATEST:]
    return sum(busy) / len(busy) if busy else MIN_PAIRS * state.episode_wall_s()


def window(state: CampaignState, now_s: float) -> int:
    """Ideas per station under way at once, the one at the robot included; 2 to MOST."""
    ratio = preparation_s(state, now_s) / max(trial_s(state), 1e-3)
    return max(2, min(MOST, math.ceil(ratio) + (2 if ratio >= 1 else 1)))


def enough(state: CampaignState, station: str, now_s: float, most: int = 0) -> str:
    """Why a station should not begin another idea now; empty if it should.

    Args:
        state: the campaign.
        station: who asks.
        now_s: wall time, s since the epoch.
        most: `window` of lab.yaml; 0 = no limit.
    """
    spec = state.spec
    searches = [work for work in state.running if work.work.kind is WorkKind.SEARCH and work.stage not in WITHOUT_ROBOT]
    mine = sum(work.work.station == station for work in searches)
    allowed = min(spec.window or window(state, now_s), most or MOST)
    if mine >= allowed:
        return f"{mine} of {allowed} ideas are under way"
    unbegun = sum(
        work.work.station == station and not work.begun_s and now_s - work.claimed_s < LATE_S for work in searches
    )
    if unbegun >= UNBEGUN:
        return f"{unbegun} ideas that it has claimed have not begun yet"
    in_a_row, ended_s = fruitless(state, station)
    pause_s = min(LONGEST_PAUSE_S, PAUSE_S * 2.0 ** min(in_a_row - 2, 10))
    if in_a_row >= 2 and 0 <= now_s - ended_s < pause_s:  # below 0 the clock was set back
        return f"the last {in_a_row} ideas came to nothing"
    return "" if affordable(state, searches) else "the token budget is needed for the ideas under way"


def fruitless(state: CampaignState, station: str) -> tuple[int, float]:
    """How many of a station's latest ideas in a row came to nothing, and the wall time at which the last one ended."""
    works = [
        w for w in state.works.values() if w.ended and w.work.kind is WorkKind.SEARCH and w.work.station == station
    ]
    works.sort(key=lambda work: work.ended_s, reverse=True)
    in_a_row = next((n for n, work in enumerate(works) if work.status not in FRUITLESS), len(works))
    return in_a_row, works[0].ended_s if works else 0.0


def ready(state: CampaignState, station: str = "") -> list[WorkState]:
    """Ideas that wait for a robot; with `station`, only those that it asked for."""
    return [
        work
        for work in state.running
        if work.work.kind is WorkKind.SEARCH and work.ready_s and not work.place and station in ("", work.work.station)
    ]


def affordable(state: CampaignState, searches: list[WorkState]) -> bool:
    """Whether the token budget, by the mean use so far, pays for one more idea beside those that are thinking."""
    budget, proposed = state.spec.token_budget, len(state.proposed) - 1
    if budget is None or not state.tokens or proposed < 1:
        return True
    thinking = sum(work.work.iteration not in state.proposed for work in searches)
    return state.tokens + (thinking + 1) * state.tokens / proposed <= budget
