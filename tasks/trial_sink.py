"""Where a trial's episodes go: the keeper in a campaign, memory in `nightlab evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from data.episodes import EpisodeArrays
from data.schedule import TrialPlan
from nightlab.records import EpisodeRecord, Event, SeedPool


class TrialSink(Protocol):
    """What a trial needs of the keeper. `KeeperClient` has these methods."""

    async def append(self, event: Event) -> int: ...
    async def put_episode(self, record: EpisodeRecord, arrays: EpisodeArrays) -> bool: ...
    async def finished(self, iteration: str, idea: str) -> set[tuple[SeedPool, int]]:
        """Pool and seed of the scored episodes that this iteration already has of `idea`."""
        ...

    async def policy_files(self, idea: str) -> dict[str, Any]:
        """Where an idea's code and checkpoint lie, as the fields of `PolicyFiles`."""
        ...

    async def trial_plan(self, campaign: str, iteration: str, idea: str, station: str = "") -> TrialPlan: ...
    async def await_station(self, campaign: str, iteration: str, stations: Sequence[str]) -> tuple[str, str]: ...
    async def leave_station(self, campaign: str, iteration: str) -> None: ...
    async def next_episode(self, campaign: str, iteration: str, station: str) -> dict[str, Any]: ...
    async def draw(self, campaign: str, iteration: str, pool: SeedPool, n: int, purpose: str) -> tuple[int, ...]: ...


class MemorySink:
    """Keeps the episodes of an evaluation; nothing reaches a lab."""

    def __init__(self) -> None:
        self.episodes: list[tuple[EpisodeRecord, EpisodeArrays]] = []
        self.events: list[Event] = []

    async def append(self, event: Event) -> int:
        self.events.append(event)
        return len(self.events)

    async def put_episode(self, record: EpisodeRecord, arrays: EpisodeArrays) -> bool:
        self.episodes.append((record, arrays))
        return True

    async def finished(self, iteration: str, idea: str) -> set[tuple[SeedPool, int]]:
        return set()

    async def policy_files(self, idea: str) -> dict[str, Any]:
        raise LookupError(f"an evaluation knows one policy; asked was {idea}")

    async def trial_plan(self, campaign: str, iteration: str, idea: str, station: str = "") -> TrialPlan:
        raise LookupError("an evaluation compares nothing")

    async def await_station(self, campaign: str, iteration: str, stations: Sequence[str]) -> tuple[str, str]:
        raise LookupError("an evaluation has its station")

    async def leave_station(self, campaign: str, iteration: str) -> None:
        raise LookupError("an evaluation has its station")

    async def next_episode(self, campaign: str, iteration: str, station: str) -> dict[str, Any]:
        raise LookupError("nobody stops an evaluation")

    async def draw(self, campaign: str, iteration: str, pool: SeedPool, n: int, purpose: str) -> tuple[int, ...]:
        raise LookupError("an evaluation is given its seeds")
