"""One claimed piece of work of a campaign, from the claim to its end."""

from __future__ import annotations

from dataclasses import dataclass

from nightlab.records import IterationStatus, Work, WorkKind


@dataclass(slots=True)
class WorkState:
    """One claimed piece of work."""

    work: Work
    claimed_s: float
    stage: str = ""
    claims: int = 1
    begun_s: float = 0.0
    """Wall time at which its first stage began; 0: not yet."""
    ready_s: float = 0.0
    """Wall time at which it was ready for a robot (its rollout stage began); 0: not yet."""
    waited_s: float = 0.0
    """Wall seconds of its preparation in which it waited for a processor."""
    place: str = ""
    """The station whose robot it was given; empty: not yet."""
    busy_s: float = 0.0
    """Wall seconds of its episodes, resets included."""
    orphaned: bool = False
    """Its station's flow died and has started again, or the station is parked: it waits to be claimed once more."""
    ended: bool = False
    ended_s: float = 0.0
    """Wall time of its end; 0: not yet."""
    status: IterationStatus = IterationStatus.RUNNING


def elsewhere(work: WorkState, parked: str) -> bool:
    """An idea of the parked station whose trial may run, or runs, on another robot."""
    return work.work.kind is WorkKind.SEARCH and work.place != parked


def work_key(iteration: str, station: str) -> str:
    """Names a claim: an iteration at a station."""
    return f"{iteration}@{station}"
