"""Measures of a campaign, from its events alone: robot utilisation (MRU), useful share, split of the time, tokens.

MRU is the share of time from campaign start to campaign end in which a station executes reset or rollout, averaged over
stations, in station time as the station servers stamped it. It is None where it would flatter: when the achieved
speed is below 95 % of the declared one, or more than 1 % of the actions were late (an overloaded host makes slow
rollouts look busy). At speed `max` nothing is declared; the share is then one of wall time.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count, islice

from data.campaign_state import CampaignState
from data.spans import Span, covered_s, split_idle, union
from data.station_order import in_order
from nightlab.records import CampaignSpec, Clock, EpisodeRecord, Event, Outcome, Record, SeedPool, WorkKind

LEAST_SPEED_SHARE = 0.95
"""Achieved over declared speed below which MRU is None."""
MOST_LATE_SHARE = 0.01
"""Share of late actions above which MRU is None."""


class Tokens(Record):
    """Tokens of the whole team. `input` includes cached, `output` includes reasoning; None means nobody reported."""

    input: int | None = None
    cached: int | None = None
    output: int | None = None
    total: int | None = None
    cost_usd: float | None = None
    exact: bool = True
    per_minute_uncached: float | None = None
    """MTU: uncached input and output per wall minute."""
    per_minute_cached: float | None = None
    to_success: int | None = None
    """Tokens used until the campaign was solved."""
    per_point: float | None = None
    """Tokens per percentage point gained between baseline and best."""


class Metrics(Record):
    """The measures of one campaign."""

    wall_s: float
    station_s: float
    """Station seconds in reset and rollout, all stations."""
    mru: float | None
    mru_rollout: float | None
    mru_reason: str = ""
    """Why MRU is None."""
    achieved_speed: float | None
    late_share: float
    useful_share: float | None
    """Share of the rollout time that entered a decision, a confirmation or a held-out measurement."""
    split: dict[str, float]
    """Shares of wall time over stations: reset, rollout, think, train, lease, fault, other; they add up to 1."""
    stations: dict[str, dict[str, float]]
    """The split per station."""
    tokens: Tokens
    time_to_success_s: float | None = None
    robot_hours_to_success: float | None = None
    """Active station hours until solved."""


@dataclass(frozen=True, slots=True)
class _Busy:
    """Busy time of a station on both clocks, seconds."""

    episodes: Sequence[EpisodeRecord]
    begin_s: float
    end_s: float
    speed: float

    def share(self, *, rollout_only: bool) -> float:
        """Busy over elapsed from `begin_s` to `end_s`: in station time, or wall time at speed `max`."""
        if self.end_s <= self.begin_s or not self.episodes:
            return 0.0
        clocks = [(self._first(e, rollout_only), e.rollout_end) for e in self.episodes]
        if self.speed <= 0:
            spans = union((max(b.wall_s, self.begin_s), min(e.wall_s, self.end_s)) for b, e in clocks)
            return covered_s(spans) / (self.end_s - self.begin_s)
        begin_s, end_s = self._station_s(self.begin_s), self._station_s(self.end_s)
        spans = union((max(b.station_s, begin_s), min(e.station_s, end_s)) for b, e in clocks)
        return min(1.0, covered_s(spans) / (end_s - begin_s)) if end_s > begin_s else 0.0

    @staticmethod
    def _first(episode: EpisodeRecord, rollout_only: bool) -> Clock:
        return episode.rollout_begin if rollout_only else episode.reset_begin

    def _station_s(self, wall_s: float) -> float:
        """The station's clock at a wall time: between the stamps around it, at the declared speed beyond them."""
        stamps = sorted(
            (clock.wall_s, clock.station_s)
            for episode in self.episodes
            for clock in (episode.reset_begin, episode.rollout_begin, episode.rollout_end)
        )
        at = bisect(stamps, (wall_s, math.inf))
        if at == 0:
            return stamps[0][1] - self.speed * (stamps[0][0] - wall_s)
        if at == len(stamps):
            return stamps[-1][1] + self.speed * (wall_s - stamps[-1][0])
        (wall_a, station_a), (wall_b, station_b) = stamps[at - 1], stamps[at]
        return station_a + (station_b - station_a) * (wall_s - wall_a) / ((wall_b - wall_a) or 1.0)


def station_names(spec: CampaignSpec, events: Sequence[Event]) -> list[str]:
    """Names of the campaign's stations; those that never took work are called `robot-1` and so on."""
    names = {event.station for event in events if event.kind in ("work_claimed", "episode") and event.station}
    others = (name for n in count(1) if (name := f"robot-{n}") not in names)
    return in_order(names.union(islice(others, max(0, spec.stations - len(names)))))


def measure(spec: CampaignSpec, events: Sequence[Event], *, window: Span | None = None) -> Metrics:
    """The measures of a campaign from its events (in ledger order).

    A campaign that has not ended is measured up to its latest event. `window`: only what happened from one wall time to
    another (s since the epoch) is measured; tokens and successes stay those of the whole campaign, and work of that time is
    useful also where its decision came later.
    """
    state = CampaignState.from_events(spec, events)
    episodes = [EpisodeRecord.model_validate(event.data) for event in events if event.kind == "episode"]
    begin_s = state.started_s
    end_s = max((event.wall_s for event in events if event.kind == "campaign_ended"), default=state.now_s)
    campaign_s = max(0.0, end_s - begin_s)
    names = station_names(spec, events)
    if window is not None:
        begin_s, end_s = window
        episodes = [e for e in episodes if e.rollout_end.wall_s > begin_s and e.reset_begin.wall_s < end_s]
    speed = spec.speed
    by_station = {name: [e for e in episodes if e.key.station == name] for name in names}
    busy = {name: _Busy(mine, begin_s, end_s, speed) for name, mine in by_station.items()}
    achieved, late = _pace(episodes)
    reason = _why_unknown(episodes, speed, achieved, late)
    splits = {name: split_idle(events, name, by_station[name], begin_s, end_s, shared=spec.share) for name in names}
    solved_s = _solved_at(spec, events)
    active = [e for e in episodes if solved_s is not None and e.rollout_end.wall_s <= solved_s]
    return Metrics(
        wall_s=max(0.0, end_s - begin_s),
        station_s=sum(e.rollout_end.station_s - e.reset_begin.station_s for e in episodes),
        mru=None if reason else _mean(busy[name].share(rollout_only=False) for name in names),
        mru_rollout=None if reason else _mean(busy[name].share(rollout_only=True) for name in names),
        mru_reason=reason,
        achieved_speed=achieved,
        late_share=late,
        useful_share=useful_share(state, episodes),
        split={key: _mean(split[key] for split in splits.values()) for key in next(iter(splits.values()))},
        stations=splits,
        tokens=_tokens(state, events, campaign_s, solved_s),
        time_to_success_s=solved_s - state.started_s if solved_s is not None else None,
        robot_hours_to_success=(
            sum(e.rollout_end.station_s - e.reset_begin.station_s for e in active) / 3600
            if solved_s is not None
            else None
        ),
    )


def utilisation_now(state: CampaignState) -> float | None:
    """Share of wall time in which stations were busy so far, for the live view; None before the first episode."""
    elapsed_s = state.now_s - state.started_s
    if not state.episodes or elapsed_s <= 0:
        return None
    return min(1.0, state.busy_wall_s / (elapsed_s * state.spec.stations))


def _pace(episodes: Iterable[EpisodeRecord]) -> tuple[float | None, float]:
    """(achieved station seconds per wall second during rollouts, share of late actions)."""
    wall_s = station_s = 0.0
    steps = late = 0
    for episode in episodes:
        wall_s += episode.rollout_end.wall_s - episode.rollout_begin.wall_s
        station_s += episode.rollout_end.station_s - episode.rollout_begin.station_s
        steps, late = steps + episode.steps, late + episode.late
    return (station_s / wall_s if wall_s > 0 else None), (late / steps if steps else 0.0)


def _why_unknown(episodes: Sequence[EpisodeRecord], speed: float, achieved: float | None, late: float) -> str:
    if not episodes or achieved is None:
        return "no episodes"
    if speed > 0 and achieved < LEAST_SPEED_SHARE * speed:
        return f"the host was too slow: {achieved:.2f}× of {speed:g}× real time achieved"
    if late > MOST_LATE_SHARE:
        return f"{late:.1%} of the actions were late"
    return ""


def useful_share(
    state: CampaignState, episodes: Iterable[EpisodeRecord], *, filler_alone: bool = False
) -> float | None:
    """Share of rollout time whose episodes entered a decision, a confirmation or a held-out measurement.

    Filler work counts where it confirmed a KEEP on fresh seeds or ran the incumbent on a seed that a trial compared it on;
    data that nothing was trained on does not.

    Args:
        state: The campaign.
        episodes: Of these.
        filler_alone: Of filler work's only.

    Returns:
        None where there is no such episode.
    """
    decided = {idea.idea for idea in state.ideas.values() if idea.judgement is not None}
    rivals = {idea.judgement.against for idea in state.ideas.values() if idea.judgement is not None}
    compared = {seed for name in decided for seed in state.known(name)}
    drawn = {draw.idea for draw in state.draws.values()}
    used_s = total_s = 0.0
    for episode in episodes:
        takes_s = episode.rollout_end.station_s - episode.rollout_begin.station_s
        key = episode.key
        work = next((w.work for w in state.works.values() if w.work.iteration == key.iteration), None)
        if filler_alone and not (work is not None and work.filler):
            continue
        total_s += takes_s
        if episode.verdict.outcome is Outcome.UNSCORED or ".r" in key.iteration:
            continue
        entered = (
            key.pool is SeedPool.HELD_OUT
            or key.iteration in decided
            or (key.idea in rivals and key.seed in compared)
            or (key.idea in drawn and work is not None and work.kind is WorkKind.REEVALUATE)
            or (key.idea == state.baseline and not (work is not None and work.filler))
            or (key.pool is SeedPool.CONFIRM and key.idea in state.kept)
        )
        used_s += takes_s if entered else 0.0
    return used_s / total_s if total_s > 0 else None


def _tokens(state: CampaignState, events: Sequence[Event], wall_s: float, solved_s: float | None) -> Tokens:
    usages = [event for event in events if event.kind == "usage"]

    def total(key: str, until_s: float | None = None) -> int | None:
        numbers = [e.data.get(key) for e in usages if until_s is None or e.wall_s <= until_s]
        known = [int(number) for number in numbers if number is not None]
        return sum(known) if known else None

    put, cached, got = total("input_tokens"), total("cached_tokens"), total("output_tokens")
    if put is None and got is None:
        return Tokens()
    both = (put or 0) + (got or 0)
    minutes = wall_s / 60 or 1.0
    gained = _gained(state)
    costs = [float(e.data["cost_usd"]) for e in usages if e.data.get("cost_usd") is not None]
    return Tokens(
        input=put,
        cached=cached,
        output=got,
        total=both,
        cost_usd=sum(costs) if costs else None,
        exact=all(e.data.get("exact", True) for e in usages),
        per_minute_uncached=(both - (cached or 0)) / minutes,
        per_minute_cached=(cached or 0) / minutes,
        to_success=(
            (total("input_tokens", solved_s) or 0) + (total("output_tokens", solved_s) or 0)
            if solved_s is not None
            else None
        ),
        per_point=both / gained if gained > 0 else None,
    )


def _gained(state: CampaignState) -> float:
    """Percentage points between the baseline's rate and the best one's (held out if measured)."""
    first = state.rate(state.baseline)
    held = state.held_out
    last = held.rate if held is not None and held.rate.n else state.rate(state.incumbent)
    if not first.n or not last.n:
        return 0.0
    return 100 * (last.successes / last.n - first.successes / first.n)


def _solved_at(spec: CampaignSpec, events: Iterable[Event]) -> float | None:
    """Wall time at which the campaign's held-out draw was complete and passed."""
    state = CampaignState(spec=spec)
    for event in events:
        state.apply(event)
        if event.kind == "episode" and event.data["key"]["pool"] == SeedPool.HELD_OUT.value and state.solved:
            return event.wall_s
    return None


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else 0.0
