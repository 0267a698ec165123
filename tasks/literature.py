"""Stage 1: passages from the literature index that fit the goal and the failures seen so far."""

from __future__ import annotations

from typing import Any

from agents.literature import Literature
from tasks.context import LabContext
from tasks.stage import stage

GOALS = {
    "push_t": "push the T block onto its goal with a single pusher",
    "pin_insertion": "insert a pin into a tight hole",
}
"""What the researcher is told to solve, per environment; an unknown environment's goal is its name."""


@stage("literature", retry_delays_s=(1.0,))
async def literature(lab: LabContext, campaign: str, iteration: str, *, station: str) -> dict[str, Any]:
    """Goal and failure histogram → passages with sources."""
    spec = lab.spec(campaign)
    histogram = lab.state(campaign).failure_histogram()
    goal = GOALS.get(spec.environment, spec.environment)
    passages = Literature.load().search(goal, histogram, k=6)
    return {"goal": goal, "histogram": histogram, "passages": [passage.model_dump(mode="json") for passage in passages]}
