"""Every record of nightlab. All are frozen pydantic models that serialise to JSON."""

from nightlab.records.base import (
    Clock,
    Decision,
    EpisodeEnd,
    IterationStatus,
    Outcome,
    Record,
    SeedPool,
)
from nightlab.records.campaign import CampaignSpec, Event, EventKind, LabConfig, StationConfig, StationPlace, Work, WorkKind
from nightlab.records.episode import EpisodeKey, EpisodeRecord, Predicate, ResetReport, Verdict
from nightlab.records.idea import (
    Checkpoint,
    Idea,
    IdeaSummary,
    Judgement,
    Passage,
    Proposal,
    ProposalContext,
    ProposalStatus,
    Rate,
    Usage,
)
from nightlab.records.station import CameraSpec, Channel, Compute, LimitsSpec, StationSpec, StepFlags

__all__ = [
    "CameraSpec", "CampaignSpec", "Channel", "Checkpoint", "Clock", "Compute", "Decision", "EpisodeEnd",
    "EpisodeKey", "EpisodeRecord", "Event", "EventKind", "Idea", "IdeaSummary", "IterationStatus", "Judgement",
    "LabConfig", "StationConfig",
    "LimitsSpec", "Outcome", "Passage", "Predicate", "Proposal", "ProposalContext", "ProposalStatus", "Rate",
    "Record", "ResetReport", "SeedPool", "StationPlace", "StationSpec", "StepFlags", "Usage", "Verdict", "Work",
    "WorkKind",
]  # fmt: skip
