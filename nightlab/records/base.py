"""What all records share: frozen, no unknown keys, a schema version; and the words for outcomes."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen record. Add fields with defaults; raise `schema_version` when a field changes its meaning."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1


class Outcome(StrEnum):
    """What an episode came to. UNSCORED is a station's fault: recorded, counted, never averaged."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNSCORED = "unscored"


class Decision(StrEnum):
    """What a trial decided about an idea."""

    KEEP = "keep"
    REVERT = "revert"
    INCONCLUSIVE = "inconclusive"


class IterationStatus(StrEnum):
    """How far an iteration came. Only DECIDED carries a Decision."""

    RUNNING = "running"
    DECIDED = "decided"
    EVALUATED = "evaluated"  # baseline, held-out, filler work and replays: measured, no decision to take
    NO_CHANGE = "no_change"  # the researcher proposed nothing
    CRASHED = "crashed"  # training failed twice
    REJECTED = "rejected"  # the policy broke its contract at deploy; the robot was not touched
    INVALID = "invalid"  # a frozen file was changed
    STOPPED = "stopped"  # deadline, e-stop or shutdown


class SeedPool(StrEnum):
    """Seeds never cross pools. The keeper owns them; no sandbox can read them."""

    SEARCH = "search"
    CONFIRM = "confirm"
    HELD_OUT = "held_out"
    STATION = "station"


class EpisodeEnd(StrEnum):
    """Why an episode stopped."""

    DONE = "done"  # the policy said so
    HELD = "held"  # the live check saw success held
    MAX_STEPS = "max_steps"
    POLICY_FAULT = "policy_fault"
    SAFETY_STOP = "safety_stop"
    STATION_FAULT = "station_fault"
    STOPPED = "stopped"


class Clock(Record):
    """The two clocks, both in seconds since the Unix epoch at start; `station_s` runs `speed` times as fast."""

    wall_s: float
    station_s: float
