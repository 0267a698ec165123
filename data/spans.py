"""Intervals of time, and what a station waited for while it was idle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nightlab.records import EpisodeRecord, Event, WorkKind

Span = tuple[float, float]
"""(begin, end), seconds."""

WAITING = {
    "rollout": "lease",
    "train": "train",
    "deploy": "train",
    "propose": "think",
    "literature": "think",
}
"""What an idle station waits for while a stage is under way. `lease`: the trial is about to get or leave the robot."""
ORDER = ("fault", "lease", "train", "think")
"""If several: the one that stood nearest to the robot."""
SHARES = ("reset", "rollout", "think", "train", "lease", "fault", "other")


def union(spans: Iterable[Span]) -> list[Span]:
    """Merge overlapping spans; sorted."""
    merged: list[Span] = []
    for begin_s, end_s in sorted(span for span in spans if span[1] > span[0]):
        if merged and begin_s <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end_s))
        else:
            merged.append((begin_s, end_s))
    return merged


def covered_s(spans: Iterable[Span]) -> float:
    """Total length of disjoint spans."""
    return sum(end_s - begin_s for begin_s, end_s in spans)


def minus(spans: Sequence[Span], other: Sequence[Span]) -> list[Span]:
    """What of `spans` is not in `other`; both disjoint and sorted."""
    left: list[Span] = []
    for begin_s, end_s in spans:
        for cut_begin_s, cut_end_s in other:
            if cut_end_s <= begin_s or cut_begin_s >= end_s:
                continue
            if cut_begin_s > begin_s:
                left.append((begin_s, cut_begin_s))
            begin_s = cut_end_s
            if begin_s >= end_s:
                break
        if begin_s < end_s:
            left.append((begin_s, end_s))
    return left


def stage_spans(events: Sequence[Event], station: str, end_s: float, *, shared: bool = False) -> dict[str, list[Span]]:
    """When the stages that a station waits for were under way, by stage; unfinished ones last until `end_s`.

    `shared`: also ideas that other stations asked for, up to the moment at which another robot took their trial.
    """
    opened: dict[tuple[str, str], float] = {}
    spans: dict[str, list[Span]] = {}
    ideas: set[str] = set()

    def close(key: tuple[str, str], at_s: float) -> None:
        if key in opened:
            spans.setdefault(key[1], []).append((opened.pop(key), at_s))

    for event in events:
        if event.kind == "work_claimed" and event.data.get("kind") == WorkKind.SEARCH.value:
            ideas.add(event.iteration)
        if event.kind == "dispatched" and event.station != station:
            close((event.iteration, "rollout"), event.wall_s)
        if event.station != station and not (shared and event.iteration in ideas):
            continue
        if event.kind == "stage_started":
            opened.setdefault((event.iteration, str(event.data.get("stage"))), event.wall_s)
        elif event.kind in ("stage_finished", "stage_failed"):
            close((event.iteration, str(event.data.get("stage"))), event.wall_s)
        elif event.kind == "iteration_ended":
            for key in [key for key in opened if key[0] == event.iteration]:
                close(key, event.wall_s)
    for (_, stage), begin_s in opened.items():
        spans.setdefault(stage, []).append((begin_s, end_s))
    return {stage: union(found) for stage, found in spans.items()}


def split_idle(
    events: Sequence[Event],
    station: str,
    episodes: Sequence[EpisodeRecord],
    begin_s: float,
    end_s: float,
    *,
    shared: bool = False,
) -> dict[str, float]:
    """Shares of a station's wall time from `begin_s` to `end_s`: see SHARES; they add up to 1.

    `shared`: ideas go to whichever robot is free next, so an idle one waits for those of every station.
    """
    total_s = end_s - begin_s
    if total_s <= 0:
        return {key: float(key == "other") for key in SHARES}

    def clipped(spans: Iterable[Span]) -> list[Span]:
        return union((max(b, begin_s), min(e, end_s)) for b, e in spans)

    rollout = clipped((e.rollout_begin.wall_s, e.rollout_end.wall_s) for e in episodes)
    reset = minus(clipped((e.reset_begin.wall_s, e.rollout_begin.wall_s) for e in episodes), rollout)
    shares = {"reset": covered_s(reset) / total_s, "rollout": covered_s(rollout) / total_s}
    idle = minus([(begin_s, end_s)], union([*rollout, *reset]))
    waits: dict[str, list[Span]] = {"fault": _faults(events, station, episodes, end_s)}
    for stage, spans in stage_spans(events, station, end_s, shared=shared).items():
        if stage in WAITING:
            waits.setdefault(WAITING[stage], []).extend(spans)
    for kind in ORDER:
        rest = minus(idle, union(waits.get(kind, ())))
        shares[kind] = (covered_s(idle) - covered_s(rest)) / total_s
        idle = rest
    shares["other"] = covered_s(idle) / total_s
    return {key: shares[key] for key in SHARES}


def _faults(events: Sequence[Event], station: str, episodes: Sequence[EpisodeRecord], end_s: float) -> list[Span]:
    """From each fault of the station to its next episode."""
    begins = sorted(episode.reset_begin.wall_s for episode in episodes)
    found: list[Span] = []
    for event in events:
        if event.kind in ("station_fault", "estop") and event.station == station:
            found.append((event.wall_s, next((begin_s for begin_s in begins if begin_s > event.wall_s), end_s)))
    return union(found)
