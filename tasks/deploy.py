"""Stage 4: the policy's contract is checked in its sandbox against recorded observations, before a robot is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from data.episodes import read_observations
from nightlab.contracts import Values
from nightlab.records import StationSpec
from policies.check import check_policy
from robots.client import StationClient
from tasks.context import LabContext
from tasks.processors import computing
from tasks.reach import reachable
from tasks.stage import stage
from tasks.train import checkpoint_dir

RECORDED = 8
"""Recorded observations of the dry run."""


@stage("deploy", retry_delays_s=(2.0,))
async def deploy(
    lab: LabContext, campaign: str, iteration: str, *, station: str, idea: str, checkpoint: dict[str, Any]
) -> dict[str, Any]:
    """Checkpoint, station → `{"problems": []}`, or what is wrong with the policy (REJECTED)."""
    code_dir = await lab.keeper.export_idea(idea)
    alike = lab.alike(station) if lab.spec(campaign).share else [lab.place(station)]
    place = (await reachable(lab, campaign, iteration, alike))[0]
    client = await StationClient.connect(place.address, keys=place.keys)
    try:
        spec = await client.describe()
        observations: list[Values] = [(await client.observe()).values]
    finally:
        await client.close()
    observations += read_observations(lab.lab, campaign, RECORDED) or _legal(spec)
    async with computing(lab, "deploy", campaign=campaign, iteration=iteration, station=station):
        problems = await check_policy(Path(code_dir), checkpoint_dir(lab, checkpoint), spec, observations)
    return {"problems": problems}


def _legal(spec: StationSpec) -> list[Values]:
    """Observations inside the spec's bounds, for a lab that has recorded none yet."""
    generator = np.random.default_rng(0)
    return [
        {channel.key: generator.uniform(channel.low, channel.high) for channel in spec.observations} for _ in range(3)
    ]
