"""Labelled episodes from the simulator: staged terminal states, the evidence that the environment takes, and the truth.

What to stage and what the truth means is said by the environment's module `truth` (see environments/push_t/truth.py).
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from environments import make, package_name
from environments.frames import encode_depths, encode_frames
from nightlab.contracts import EpisodeEvidence, Frame, Lease, SimulatorAdmin, Station, StoredEvidence
from nightlab.errors import NightlabError, UsageError


@dataclass(frozen=True, slots=True)
class Staged:
    """One staged episode."""

    seed: int
    stored: StoredEvidence
    start: dict[str, float]
    faults: tuple[str, ...]
    success: bool
    value: float


def truth_module(name: str) -> ModuleType:
    """The environment's module `truth`. Raises UsageError if it has none."""
    try:
        return importlib.import_module(f"{package_name(name)}.truth")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{name} has no module `truth` (stage, label, start_distance, THRESHOLD), so nothing can be labelled from "
            f"the simulator; write it as environments/push_t/truth.py, or label recorded episodes: "
            f"nightlab verifier label {name} --lab DIR"
        ) from error


class Witness:
    """A station that notes the truth at each captured frame. Passes everything else on."""

    def __init__(self, station: Station, admin: SimulatorAdmin) -> None:
        self._station, self._admin = station, admin
        self.truths: list[Mapping[str, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._station, name)

    async def capture(self, camera: str) -> Frame:
        """A frame; the truth at that time goes to `truths`."""
        frame = await self._station.capture(camera)
        self.truths.append(dict(await self._admin.truth()))
        return frame


async def stage_episodes(
    name: str, station: Station, lease: Lease, admin: SimulatorAdmin, seeds: Sequence[int]
) -> AsyncIterator[Staged]:
    """Stage, collect evidence, label; one after the other. States that cannot be staged are left out."""
    truth = truth_module(name)
    environment = make(name)
    for seed in seeds:
        try:
            await truth.stage(station, lease, admin, seed)
        except UsageError:
            raise
        except NightlabError:
            continue
        witness = Witness(station, admin)
        async with station.control(lease, f"label-{seed}") as session:
            evidence = await environment.evidence(witness, session)
        success, value = truth.label(witness.truths)
        stored = await asyncio.to_thread(store, evidence)
        yield Staged(seed, stored, dict(evidence.start), tuple(evidence.faults), bool(success), float(value))


def store(evidence: EpisodeEvidence) -> StoredEvidence:
    """Evidence as it is kept: lossless pictures."""
    frames = list(evidence.frames)
    depths = encode_depths([frame.depth_m for frame in frames])
    return StoredEvidence(
        frames_png=encode_frames([frame.rgb for frame in frames]),
        observations=list(evidence.observations),
        cameras=[frame.camera for frame in frames],
        seqs=[frame.seq for frame in frames],
        depths_png=depths if any(depths) else [],
        measures=dict(evidence.measures),
    )
