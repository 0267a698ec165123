"""Stage 1: passages from the literature index that fit the goal and the failures seen so far."""

from __future__ import annotations

from typing import Any

from agents.literature import Literature
from nightlab import cards
from tasks.context import LabContext
from tasks.stage import stage


@stage("literature", retry_delays_s=(1.0,))
async def literature(lab: LabContext, campaign: str, iteration: str, *, station: str) -> dict[str, Any]:
    """Goal and failure histogram → passages with sources."""
    spec = lab.spec(campaign)
    histogram = lab.state(campaign).failure_histogram()
    about = cards.card(spec.environment)
    passages = Literature.of(about.name).search(about.goal, histogram, k=6)
    return {
        "goal": about.goal,
        "histogram": histogram,
        "passages": [passage.model_dump(mode="json") for passage in passages],
    }
