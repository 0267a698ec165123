"""The campaign that a lab was at when it was last shut down, or lost its power."""

from __future__ import annotations

import time

from data.campaign_state import CampaignState
from data.lab import Lab
from data.ledger import LedgerReader
from nightlab.records import CampaignSpec


def unfinished(lab: Lab) -> CampaignSpec | None:
    """The latest campaign of the lab if it has not ended."""
    reader = LedgerReader(lab.ledger_path)
    started = reader.events(kind="campaign_started")
    ended = {event.campaign for event in reader.events(kind="campaign_ended")}
    if started and started[-1].campaign not in ended:
        return CampaignSpec.model_validate(started[-1].data)
    return None


def why_over(lab: Lab, spec: CampaignSpec) -> str:
    """Why a campaign that was left over has nothing to go on for, e.g. its wall time; empty: it has."""
    events = LedgerReader(lab.ledger_path).events(campaign=spec.campaign)
    return CampaignState.from_events(spec, events).stop_reason(time.time())


def told_ignored(old: CampaignSpec, asked: CampaignSpec) -> str:
    """Which of the options asked for do not count, because a campaign keeps its own; starts with a colon, or empty."""
    own = ("campaign", "manifest_sha256", "real_stations")
    differ = [
        f"{name} {getattr(old, name)!s} (asked: {getattr(asked, name)!s})"
        for name in CampaignSpec.model_fields
        if name not in own and getattr(old, name) != getattr(asked, name)
    ]
    return f": it keeps its own {', '.join(differ)}" if differ else ""
