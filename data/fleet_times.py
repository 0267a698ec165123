"""What the ideas of a campaign took, one by one: with these the fleet model (data/fleet_model.py) replays that campaign.

A short measurement holds few trials, and what a model says of many runs says little of one. Given the same luck, what is
left between the two is what the model gets wrong. Pure; station seconds.
"""

from __future__ import annotations

from collections.abc import Iterable

from data.campaign_state import CampaignState
from nightlab.records import EpisodeRecord, WorkKind


def prepared_s(state: CampaignState) -> tuple[float, ...]:
    """From its claim until it was ready for a robot, of each idea, in the order of the claims.

    Ideas that ended without a trial are left out. One that is not ready yet counts with the time of the whole campaign so
    far: it gave no robot work.
    """
    whole_s = state.now_s - state.started_s
    searches = (work for work in state.works.values() if work.work.kind is WorkKind.SEARCH)
    mine = sorted((w for w in searches if w.ready_s or not w.ended), key=lambda work: work.claimed_s)
    return tuple((work.ready_s - work.claimed_s if work.ready_s else whole_s) * state.spec.speed for work in mine)


def tried_s(state: CampaignState, episodes: Iterable[EpisodeRecord]) -> tuple[float, ...]:
    """Robot time of each trial, resets included, in the order in which the trials began."""
    searches = {work.work.iteration for work in state.works.values() if work.work.kind is WorkKind.SEARCH}
    begun_s: dict[str, float] = {}
    takes_s: dict[str, float] = {}
    for episode in episodes:
        name, at = episode.key.iteration, episode.reset_begin
        if name in searches:
            begun_s[name] = min(begun_s.get(name, at.wall_s), at.wall_s)
            takes_s[name] = takes_s.get(name, 0.0) + episode.rollout_end.station_s - at.station_s
    return tuple(takes_s[name] for name in sorted(begun_s, key=begun_s.__getitem__))
