"""What every stage needs of the lab it runs in: paths, the keeper, the ledger, the stations.

Stages get ids and JSON only; this is how they turn ids into the lab. The lab's path comes from `NIGHTLAB_LAB`, which the
supervisor sets for the fleet.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.campaign_state import CampaignState
from data.keeper_client import KeeperClient
from data.lab import Lab
from data.ledger import LedgerReader
from nightlab.errors import LabError
from nightlab.records import CampaignSpec, Event, EventKind, Idea, StationPlace

_STATES: dict[tuple[str, str], tuple[int, CampaignState]] = {}
"""(lab, campaign) → the newest event that is folded in, and the state."""


@dataclass(frozen=True, slots=True)
class LabContext:
    """Handles on one lab. Reading goes straight to the ledger, writing through the keeper."""

    lab: Lab
    keeper: KeeperClient
    ledger: LedgerReader

    @classmethod
    def here(cls) -> LabContext:
        """The lab named by `NIGHTLAB_LAB`."""
        path = os.environ.get("NIGHTLAB_LAB")
        if not path:
            raise LabError(
                "NIGHTLAB_LAB is not set; flows run inside a lab's fleet. Start it with: nightlab up --lab DIR"
            )
        lab = Lab.open(Path(path))
        return cls(lab, KeeperClient(lab.keeper_socket, full_s=math.inf), LedgerReader(lab.ledger_path))

    def spec(self, campaign: str) -> CampaignSpec:
        """The campaign's settings as they were started with."""
        for event in self.ledger.events(campaign=campaign, kind="campaign_started"):
            return CampaignSpec.model_validate(event.data)
        raise LabError(f"no campaign {campaign!r} in {self.lab.path}. Start one with: nightlab run ENV")

    def state(self, campaign: str) -> CampaignState:
        """The campaign folded from its events; kept, so that only new ones are read. Not to be changed."""
        name = (str(self.lab.path), campaign)
        seq, state = _STATES.get(name) or (0, CampaignState(spec=self.spec(campaign)))
        for event in self.ledger.events(campaign=campaign, since=seq):
            seq = event.seq
            state.apply(event)
        _STATES[name] = (seq, state)
        return state

    def idea(self, idea: str) -> Idea | None:
        """A committed idea, or None while it is not committed."""
        for event in self.ledger.events(kind="idea_committed"):
            if event.data["idea"] == idea:
                return Idea.model_validate(event.data)
        return None

    def place(self, station: str) -> StationPlace:
        """Where a station answers, as the supervisor wrote it."""
        state: dict[str, Any] = json.loads(self.lab.state_path.read_text())
        for place in state["stations"]:
            if place["station"] == station:
                return StationPlace.model_validate(place)
        known = ", ".join(place["station"] for place in state["stations"])
        raise LabError(f"no station {station!r} in this lab; there are: {known}. See: nightlab status")

    def alike(self, station: str) -> list[StationPlace]:
        """Every station whose robot can stand in for that of `station`, itself first."""
        worlds = {declared.station: declared.world for declared in self.lab.config.stations}
        others = [name for name, world in worlds.items() if name != station and world == worlds.get(station)]
        return [self.place(name) for name in (station, *others)]

    async def note(
        self, kind: EventKind, event_id: str, *, campaign: str, iteration: str = "", station: str = "", **data: Any
    ) -> None:
        """Append one event through the keeper."""
        await self.keeper.append(
            Event(
                event_id=event_id,
                kind=kind,
                campaign=campaign,
                iteration=iteration,
                station=station,
                wall_s=time.time(),
                data=data,
            )
        )
