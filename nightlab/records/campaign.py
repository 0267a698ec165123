"""A campaign: its settings, the work it hands out, and the events it is made of."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from nightlab.records.base import Record, SeedPool


class CampaignSpec(Record):
    """What the user asked for. Also the parameters of the `campaign` flow, so it is a form in the Prefect UI."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    campaign: str = ""
    """Empty: the keeper names it (C1, C2, …)."""
    environment: str = "push_t"
    stations: int = Field(default=2, ge=1, le=64)
    researcher: str = "offline"
    """`offline`, `scripted`, `scripted:FILE` or `command:PROGRAM ARGS`."""
    think: str = ""
    """Station time that a proposal takes at least: seconds, or `lognormal:MEDIAN_S:SIGMA`. Empty: as long as it takes."""
    train: str = ""
    """The same for a training."""
    profile: str = "nominal"
    """`nominal`, `real`, `hard`, or a path of a YAML file with the same fields."""
    speed: float = Field(default=10.0, ge=0)
    """Station seconds per wall second; 0 = max."""
    budget_s: float = Field(default=600.0, gt=0)
    """Wall seconds."""
    robot_budget_s: float | None = None
    """Station seconds over all stations."""
    token_budget: int | None = None
    target: float = Field(default=0.95, gt=0, lt=1)
    """Held-out Wilson lower bound that counts as solved."""
    seed: int = 0
    window: int = Field(default=0, ge=0, le=32)
    """Concurrent iterations per station; 0: as many as measured think, train and trial times ask for."""
    filler: bool = True
    """Re-evaluate, confirm and collect data while no idea is ready for a trial."""
    share: bool = True
    """Give an idea's trial to whichever station of the kind is free next; False: to the station that asked for the idea."""
    held_out_n: int = Field(default=400, ge=1)
    search_n: int = Field(default=20, ge=10)
    """Search seeds per trial at most."""
    confirm_n: int = Field(default=12, ge=1)
    baseline_n: int = Field(default=20, ge=1)
    manifest_sha256: str = ""
    """Frozen manifest that the campaign is held to; set when it starts. Empty: whatever is frozen at each trial."""
    real_stations: bool = False
    """Some of the lab's stations are not known to be simulated; set when the campaign starts, from `lab.yaml`."""

    @property
    def stations_differ(self) -> bool:
        """Whether a result depends on its station: then a pair is compared at one station only."""
        return self.real_stations or self.profile != "nominal"


class StationPlace(Record):
    """Where a station of the lab answers."""

    station: str
    """`robot-1`, … also the name of its work pool."""
    address: str
    """gRPC target, e.g. `127.0.0.1:50051` or `unix:/…`."""
    admin_socket: str | None = None
    """Unix socket of SimulatorAdmin; None for real robots."""
    station_seed: int | None = None
    keys: str = ""
    """Folder with this lab's certificate and token for a station on another host; empty: it needs none."""


class WorkKind(StrEnum):
    """What a station does next."""

    BASELINE = "baseline"
    SEARCH = "search"
    HELD_OUT = "held_out"
    REEVALUATE = "reevaluate"
    WAIT = "wait"
    STOP = "stop"


class Work(Record):
    """One unit of work handed to a station flow by the keeper; claimed once."""

    kind: WorkKind
    campaign: str
    iteration: str = ""
    """`I17` for SEARCH and BASELINE (I0), `E3` for evaluations, `I17.r1` for replays."""
    station: str = ""
    idea: str = ""
    """Idea to evaluate; empty for SEARCH until it is proposed."""
    parent: str = ""
    pool: SeedPool | None = None
    seeds: tuple[int, ...] = ()
    """Episodes to execute, for kinds other than SEARCH."""
    draw: int = 0
    """Number of the held-out draw these seeds belong to."""
    planned_n: int = 0
    """Episodes that the whole held-out draw was declared to have; these seeds are a part of it."""
    filler: bool = False
    """Work that gives way to any other before each of its episodes."""
    final: bool = False
    """The draw is the campaign's last measurement: it has no futility stop."""
    station_seed: int | None = None
    """Held-out stations: sample the simulated station anew with this seed for these episodes."""
    wait_s: float = 0.0
    reason: str = ""


EventKind = Literal[
    "campaign_started", "campaign_ended", "station_up", "station_fault", "work_claimed", "stage_started",
    "stage_finished", "stage_failed", "idea_proposed", "idea_committed", "checkpoint", "deployed", "episode",
    "verdict_audit", "judged", "iteration_ended", "solved", "seeds_drawn", "shard", "estop", "tamper", "note",
    "usage", "recovered", "station_parked", "station_unparked", "dispatched",
]  # fmt: skip


class Event(Record):
    """One row of the append-only ledger. Appending the same `event_id` twice yields one row."""

    event_id: str
    kind: EventKind
    campaign: str = ""
    iteration: str = ""
    station: str = ""
    wall_s: float
    data: dict[str, Any] = {}
    seq: int = 0
    """Set by the ledger."""


class StationConfig(Record):
    """One station as `lab.yaml` declares it."""

    station: str
    """Its name and that of its work pool: letters, digits, `-` and `_`; `campaign` is taken."""
    world: str = "push_t"
    profile: str = "nominal"
    speed: float = Field(default=10.0, ge=0)
    station_seed: int = 0
    address: str = "127.0.0.1:0"
    """gRPC address to serve at; port 0 = chosen once and then kept. With `remote: true`, where the server already is."""
    remote: bool = False
    admin_socket: str = ""
    """Of a remote station that is simulated and shares this machine's files: the socket of its SimulatorAdmin."""
    keys: str = ""
    """Folder that `nightlab station keys` made for this lab, for a station on another host. Not inside the lab."""

    @property
    def simulated(self) -> bool:
        """Whether it is known to be simulated: the lab's own, or a remote one whose SimulatorAdmin is at hand."""
        return not self.remote or bool(self.admin_socket)


class LabConfig(Record):
    """`lab.yaml`: the stations of a lab and what its processes need to know."""

    environment: str = "push_t"
    stations: tuple[StationConfig, ...] = Field(min_length=1)
    window: int = Field(default=0, ge=0, le=32)
    """Ideas under way per station at most; 0 = no limit but the schedule's own."""
    trainings: int = Field(default=0, ge=0, le=256)
    """Trainings at once on this host; 0 = as many as it has processors. Set 1 where they share a GPU."""
    prefect_port: int = 0
    """0 = chosen once and then kept."""
    prefect_database_url: str = ""
    """Empty: SQLite inside the lab. A PostgreSQL URL for a fleet."""

    @model_validator(mode="after")
    def _names_of_pools(self) -> Self:
        names = [station.station for station in self.stations]
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", name) or name == "campaign":
                raise ValueError(
                    f"a station called {name!r}: letters, digits, - and _ make a name, 40 at most; 'campaign' is taken"
                )
            if names.count(name) > 1:
                raise ValueError(f"{names.count(name)} stations are called {name!r}; each needs a name of its own")
        return self
