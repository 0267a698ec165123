"""Stage 3: the idea's `train.py` makes a checkpoint in a sandbox; one retry, then the idea is recorded as CRASHED.

Only so many train at once as the host has processors (tasks/processors.py), or `trainings` in lab.yaml says.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from typing import Any

from agents.clock import parse_clock
from nightlab.records import CampaignSpec, Checkpoint
from nightlab.seeding import derive
from policies.trainer import SandboxedTrainer
from tasks.context import LabContext
from tasks.processors import computing
from tasks.stage import stage

TRAIN_BUDGET_S = 600.0
"""Wall seconds that one training may take."""


@stage("train", retry_delays_s=(0.5,))
async def train(lab: LabContext, campaign: str, iteration: str, *, station: str, idea: str) -> dict[str, Any]:
    """Idea → checkpoint revision."""
    begin_s = time.monotonic()
    code_dir = await lab.keeper.export_idea(idea)
    out = lab.lab.checkpoints_dir / iteration
    partial = out.with_name(f".{iteration}-{time.time_ns()}")
    partial.mkdir(parents=True)
    try:
        async with computing(
            lab, "train", campaign=campaign, iteration=iteration, station=station, places=lab.lab.config.trainings
        ):
            made = await SandboxedTrainer().train(code_dir, partial, budget_s=TRAIN_BUDGET_S)
        known = lab.idea(idea)
        if known is not None and known.parent is not None:
            await asyncio.sleep(max(0.0, train_wall_s(lab.spec(campaign), iteration) - (time.monotonic() - begin_s)))
        if not out.exists():
            partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    checkpoint = made.model_copy(update={"path": str(Path("checkpoints") / iteration)})
    await lab.keeper.add_checkpoint(campaign, iteration, idea, checkpoint)
    return checkpoint.model_dump(mode="json")


def train_wall_s(spec: CampaignSpec, iteration: str) -> float:
    """Wall seconds that the clock gives a training at least; 0 without one, or at speed `max`."""
    clock = parse_clock(spec.train)
    return clock.draw_s(derive(spec.seed, "train", iteration)) / spec.speed if spec.speed else 0.0


def checkpoint_dir(lab: LabContext, checkpoint: dict[str, Any]) -> Path:
    """Where a checkpoint lies on this host."""
    return lab.lab.path / Checkpoint.model_validate(checkpoint).path
