"""How the stations came to their starts: success, attempts, duration, distance; and which stations wait for a person."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.station_order import in_order
from data.statistics import wilson
from nightlab.cards import find
from nightlab.records import EpisodeRecord, Event, ResetReport


@dataclass(frozen=True, slots=True)
class Reset:
    """One reset, of an episode or one that gave up."""

    station: str
    success: bool
    attempts: int
    duration_s: float
    distance: float | None
    shortcut: bool
    rejected_starts: int
    counts: Mapping[str, int]


def resets(environment: str, events: Sequence[Event], episodes: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Statistics of all resets of a campaign, over all stations and per station. JSON only.

    Resets of UNSCORED episodes count too: they say something of the station, not of the idea. Distances are between
    asked and achieved start, in the environment's own unit, of resets that succeeded.
    """
    every = [of_report(episode.key.station, episode.reset) for episode in episodes]
    every += [of_event(event) for event in events if event.kind == "station_parked" and "reset" in event.data]
    about = find(environment)
    return {
        "unit": about.start_unit if about is not None else "",
        "all": summary(every),
        "stations": {
            station: summary([reset for reset in every if reset.station == station])
            for station in in_order(reset.station for reset in every)
        },
        "parked": parked(events),
    }


def of_report(station: str, report: ResetReport) -> Reset:
    """A reset as its report says."""
    distance = report.distance if math.isfinite(report.distance) else None
    return Reset(station, report.success, report.attempts, report.duration_s, distance, report.simulator_shortcut,
                 report.rejected_starts, report.counts)  # fmt: skip


def of_event(event: Event) -> Reset:
    """The reset that gave up, from a `station_parked` event; a distance that JSON could not hold is unknown."""
    told = event.data["reset"]
    distance = told.get("distance")
    return Reset(
        station=event.station,
        success=False,
        attempts=int(told.get("attempts", 0)),
        duration_s=float(told.get("duration_s") or 0.0),
        distance=float(distance) if isinstance(distance, int | float) and math.isfinite(distance) else None,
        shortcut=bool(told.get("simulator_shortcut", False)),
        rejected_starts=int(told.get("rejected_starts", 0)),
        counts={str(key): int(value) for key, value in dict(told.get("counts", {})).items()},
    )


def summary(found: Sequence[Reset]) -> dict[str, Any]:
    """Success with its Wilson interval, attempts, duration (station seconds), distance, and what had to be done."""
    good = [reset for reset in found if reset.success]
    low, high = wilson(len(good), len(found))
    done: Counter[str] = Counter()
    for reset in found:
        done.update(reset.counts)
    return {
        "n": len(found),
        "successes": len(good),
        "wilson_low": low,
        "wilson_high": high,
        "attempts": {str(k): v for k, v in sorted(Counter(reset.attempts for reset in found).items())},
        "duration_s": spread([reset.duration_s for reset in found]),
        "distance": spread([reset.distance for reset in good if reset.distance is not None]),
        "shortcuts": sum(reset.shortcut for reset in found),
        "rejected_starts": sum(reset.rejected_starts for reset in found),
        "did": dict(sorted(done.items())),
    }


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean, median, 95th percentile (nearest rank) and maximum; None without values."""
    if not values:
        return {"mean": None, "median": None, "p95": None, "max": None}
    ordered = sorted(round(value, 9) for value in values)
    return {
        "mean": statistics.fmean(ordered),
        "median": statistics.median(ordered),
        "p95": ordered[math.ceil(0.95 * len(ordered)) - 1],
        "max": ordered[-1],
    }


def parked(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Each time a station was parked: when, why, what to do, until when (None: still), and what the person noted."""
    found: list[dict[str, Any]] = []
    for event in events:
        if event.kind == "station_parked":
            found.append(
                {
                    "station": event.station,
                    "from_wall_s": event.wall_s,
                    "until_wall_s": None,
                    "reason": str(event.data.get("reason", "")),
                    "fix": str(event.data.get("fix", "")),
                    "note": "",
                }
            )
        elif event.kind == "station_unparked":
            for row in found:
                if row["station"] == event.station and row["until_wall_s"] is None:
                    row["until_wall_s"], row["note"] = event.wall_s, str(event.data.get("note", ""))
    return found
