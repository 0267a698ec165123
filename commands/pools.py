"""Names of work pools and of the flows that are deployed on them."""

from __future__ import annotations

CAMPAIGN_POOL = "campaign"
CAMPAIGN_FLOWS = ("flows.campaign.campaign",)
"""Flows deployed once, on the pool `campaign`, under the flow's own name."""
STATION_FLOWS = ("flows.station.station", "flows.iteration.iteration", "flows.replay.replay")
"""Flows deployed on every robot's pool, under the robot's name."""
