"""When a campaign qualifies, measures and ends: the numbers of the schedule and the estimates that they meet."""

from __future__ import annotations

from dataclasses import dataclass

from data.campaign_state import CampaignState
from data.statistics import pass_probability
from nightlab.records import Decision, IterationStatus, WorkKind


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """Numbers of the schedule, tuned with benchmarks/search_simulation.py."""

    qualify_n: int = 60
    """Search episodes that an incumbent must have before a held-out draw."""
    qualify_most_n: int = 160
    """An incumbent that needs more episodes than this to look solved needs a better idea instead."""
    qualify_probability: float = 0.7
    """Predicted chance of passing that opens a held-out draw."""
    promising_probability: float = 0.2
    """Predicted chance of passing from which the incumbent is worth qualifying."""
    anchor_n: int = 12
    """Episodes of a new incumbent on its fresh search seeds before new trials."""
    likely_probability: float = 0.35
    """Predicted chance of passing from which no new ideas are begun until it is known."""
    chunk_n: int = 25
    """Held-out episodes per claim at most."""
    varied_chunk_n: int = 10
    """The same where stations differ: each chunk has a station of its own, and few stations make a rough mean."""
    reevaluate_n: int = 12
    """Qualification episodes per claim at most."""
    filler_n: int = 12
    """Episodes of filler work at most; it ends as soon as it is no longer needed."""
    filler_confirm_n: int = 24
    """Fresh episodes up to which filler work confirms a KEEP, before it re-evaluates and collects data."""
    reserve_s: float = 8.0
    """Wall seconds kept for the end of the campaign."""
    final_share: float = 0.5
    """The final measurement takes at most this share of the budget."""
    hopeless_share: float = 0.3
    """The same for an incumbent that will hardly reach the target, or has not shown it yet: the search needs the time."""
    hopeful_n: int = 20
    """Fresh episodes on which hope must rest."""
    most_claims: int = 3
    """How often the same work is handed out when its station's flow keeps dying."""
    lost_s: float = 120.0
    """Silence of a station after which others take over its evaluations."""
    exhausted_n: int = 4
    """Iterations without a proposal in a row after which the search is over."""
    final_margin: float = 0.08
    """The final draw begins earlier than its estimated time by this share, so that it is done in time."""
    final_small_n: int = 60
    """Size of the final draw of an incumbent that succeeds in less than half of its episodes."""
    final_least_n: int = 20
    """Size of the final draw at least, even if it will not be finished in time; never more than was asked for."""


DEFAULTS = ScheduleSettings()
MOST_OVERHEAD = 2.5
"""Stations that wait more than this for each other or for a person are not expected to do so in the final draw too."""
UNBUSY_S = 120.0
"""Busy station time (wall) that a campaign is credited with at its start, when waiting says little of what comes."""


def final_n(state: CampaignState, now_s: float, settings: ScheduleSettings = DEFAULTS) -> int:
    """Size of the final draw: what was asked for, less if the incumbent is poor or the time short."""
    spec, rate = state.spec, state.fresh_rate(state.incumbent)
    wanted = spec.held_out_n
    if rate.successes < 0.5 * rate.n:
        wanted = min(wanted, settings.final_small_n)
    left_s = state.deadline_wall_s - settings.reserve_s - now_s
    hopeful = rate.n >= settings.hopeful_n and chance(state) >= settings.likely_probability
    share = settings.final_share if hopeful else settings.hopeless_share
    fits = int(min(share * spec.budget_s, left_s) / held_out_s(state, 1))
    return min(wanted, max(settings.final_least_n, fits))


def chance(state: CampaignState) -> float:
    """Predicted chance that the incumbent passes a held-out draw; 0 with fewer than 10 episodes.

    A new incumbent without 10 fresh episodes is judged by those that it was chosen by.
    """
    rate, spec = state.fresh_rate(state.incumbent), state.spec
    if rate.n < 10:
        rate = state.rate(state.incumbent)
    return pass_probability(rate.successes, rate.n, spec.held_out_n, spec.target) if rate.n >= 10 else 0.0


def gain_waits(state: CampaignState) -> bool:
    """True if an idea beat its parent but came second, and no idea from today's incumbent has been asked for yet.

    Before it is qualified, the incumbent should be offered that gain: two halves of a solution are often found side by side.
    """
    works = (work for work in state.works.values() if work.work.kind is WorkKind.SEARCH)
    if any(w.work.parent == state.incumbent and w.status is not IterationStatus.STOPPED for w in works):
        return False
    ideas = [idea for idea in state.ideas.values() if idea.status is not IterationStatus.STOPPED]
    built_on = {name for idea in ideas if idea.proposal is not None for name in idea.proposal.inspired_by}
    won = [idea for idea in ideas if idea.judgement is not None and idea.judgement.beats_parent]
    return any(idea.decision is not Decision.KEEP and idea.idea not in built_on for idea in won)


def exhausted(state: CampaignState, settings: ScheduleSettings = DEFAULTS) -> bool:
    """True if the researcher had nothing new to propose several times in a row, and nothing that tells is under way.

    What tells is the trial of an idea, and the baseline that every gain is counted from.
    """
    works = state.works.values()
    searches = [work for work in works if work.work.kind is WorkKind.SEARCH]
    trials = (work for work in searches if work.work.iteration in state.ideas)
    baseline = (
        work
        for work in works
        if work.work.kind is WorkKind.BASELINE and not (work.orphaned and work.claims >= settings.most_claims)
    )
    if any(not work.ended for work in (*trials, *baseline)):
        return False
    ended = [work.status for work in searches if work.ended]
    latest = ended[-settings.exhausted_n :]
    return len(latest) == settings.exhausted_n and set(latest) == {IterationStatus.NO_CHANGE}


def final_due(state: CampaignState, now_s: float, settings: ScheduleSettings = DEFAULTS) -> bool:
    """True once the time left is just enough for the final draw, or there is nothing left to try."""
    if exhausted(state, settings):
        return True
    takes_s = (1 + settings.final_margin) * held_out_s(state, final_n(state, now_s, settings))
    begin_s = state.deadline_wall_s - takes_s - settings.reserve_s
    return now_s + 1.0 >= begin_s


def held_out_s(state: CampaignState, n: int) -> float:
    """Wall seconds that `n` episodes of the incumbent take on all stations, by what was measured so far.

    Time between episodes counts as measured: stations × elapsed / busy.
    """
    stations, elapsed_s = state.spec.stations, state.now_s - state.started_s
    overhead = (stations * elapsed_s + UNBUSY_S) / (state.busy_wall_s + UNBUSY_S)
    return n * state.episode_wall_s() * min(max(1.05 * overhead, 1.1), MOST_OVERHEAD) / stations
