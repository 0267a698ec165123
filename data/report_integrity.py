"""What the report says about cheating and tampering: what was audited, what was refused, what ended as INVALID."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from data.campaign_state import CampaignState
from nightlab.records import EpisodeEnd, EpisodeRecord, Event, IterationStatus

SHOWN = 12
"""Rows of each list at most."""
REASON_CHARACTERS = 160


def integrity(state: CampaignState, events: Sequence[Event], episodes: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Figures and rows of the section `Can it be trusted?`."""
    audits = [event for event in events if event.kind == "verdict_audit"]
    invalid = {
        event.iteration: str(event.data.get("detail", ""))
        for event in events
        if event.kind == "iteration_ended" and event.data.get("status") == IterationStatus.INVALID.value
    }
    refused = [
        (event.iteration, str(event.data.get("researcher", "")))
        for event in events
        if event.kind == "usage" and event.data.get("status") == "refused_frozen"
    ]
    faults = Counter(
        (episode.key.idea, episode.fault[:REASON_CHARACTERS])
        for episode in episodes
        if episode.end in (EpisodeEnd.POLICY_FAULT, EpisodeEnd.SAFETY_STOP)
    )
    return {
        "manifest": state.spec.manifest_sha256[:12],
        "audited": sum(int(event.data.get("audited", 0)) for event in audits),
        "contradicted": sum(len(event.data.get("changed", ())) for event in audits),
        "invalid": list(invalid.items())[:SHOWN],
        "invalid_episodes": sum(episode.key.iteration in invalid for episode in episodes),
        "refused": refused[:SHOWN],
        "faults": [(idea, reason, count) for (idea, reason), count in faults.most_common(SHOWN)],
    }
