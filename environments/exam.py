"""Examining a verifier: episodes whose outcome is known from ground truth, and what the verdicts come to.

An environment that can be examined has two modules: `exam` with `states(n, seed)`, `prepare(station, lease, admin,
state, episode_seed)` and `BAND`; `truth` with `label(truths)` (see environments/push_t). The evidence is collected by
the environment itself, as after any episode, so what is measured is the whole way from the camera to the verdict.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import msgpack
import numpy as np

from environments import make, package_name
from environments.evidence import from_message, to_message
from environments.frames import encode_depths, encode_frames
from environments.fusion import GuardBand
from nightlab.contracts import EpisodeEvidence, Frame, Lease, World
from nightlab.errors import UsageError
from nightlab.records import Outcome, Verdict
from nightlab.testing.fake_station import FakeStation

FIX = "write environments/<name>/exam.py and truth.py as docs/new_environment.md says"


@dataclass(frozen=True, slots=True)
class Case:
    """One episode whose outcome is known."""

    evidence: EpisodeEvidence
    success: bool
    value: float
    """What the threshold is about, by ground truth."""
    part: str
    """`balanced`, or `terminal` for the end of a good policy's episode."""


class TruthStation(FakeStation):
    """A station in this process that writes down the truth at each frame."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.truths: list[Mapping[str, float]] = []

    async def capture(self, camera: str) -> Frame:
        """A frame, and the truth at it."""
        frame = await super().capture(camera)
        self.truths.append(dict(self.world.truth()))
        return frame


def module(environment: str, name: str) -> ModuleType:
    """`exam` or `truth` of an environment.

    Raises:
        UsageError: the environment has none.
    """
    dotted = f"{package_name(environment)}.{name}"
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError as error:
        if error.name != dotted:
            raise
        raise UsageError(f"{environment} has no module {dotted}, so its verifier cannot be examined; {FIX}") from error


async def collect(station: TruthStation, environment: str, state: Mapping[str, float], episode_seed: int) -> Case:
    """The case of one state: prepared, held and photographed as after an episode, with the truth at the frames."""
    judged, lease = make(environment), await station.lease("exam", make(environment).limits)
    try:
        logged = await module(environment, "exam").prepare(station, lease, station, state, episode_seed)
        return await close(station, environment, judged, lease, "balanced", logged)
    finally:
        await lease.release()


async def close(
    station: TruthStation,
    environment: str,
    judged: Any,
    lease: Lease,
    part: str,
    logged: Mapping[str, float] | None = None,
) -> Case:
    """Collect the evidence of the state that the station is in. `logged`: measures of an episode that was not run."""
    station.truths.clear()
    async with station.control(lease, "exam") as session:
        evidence = await judged.evidence(station, session)
    told = dict(logged or {})
    success, value = module(environment, "truth").label([{**truth, **told} for truth in station.truths])
    evidence = replace(evidence, measures={**evidence.measures, **told})
    return Case(evidence, bool(success), float(value), part)


def save(case: Case, path: Path) -> None:
    """Write a case as msgpack, its frames as PNG."""
    seen = case.evidence
    message = to_message(
        seen.environment,
        encode_frames([frame.rgb for frame in seen.frames]),
        seen.observations,
        seen.faults,
        seen.start,
        seqs=[frame.seq for frame in seen.frames],
        cameras=[frame.camera for frame in seen.frames],
        depths_png=encode_depths([frame.depth_m for frame in seen.frames]),
        measures=seen.measures,
    )
    path.write_bytes(msgpack.packb({"evidence": message, "success": case.success, "value": case.value}))


def load(path: Path, part: str) -> Case:
    """A case that `save` wrote."""
    found = msgpack.unpackb(path.read_bytes())
    return Case(from_message(found["evidence"]), bool(found["success"]), float(found["value"]), part)


@dataclass(slots=True)
class Tally:
    """Verdicts against the truth."""

    band: GuardBand
    cases: list[tuple[Case, Verdict]] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)

    def add(self, case: Case, verdict: Verdict, latency_s: float) -> None:
        """Count one verdict. The case's pictures are let go."""
        self.cases.append((replace(case, evidence=EpisodeEvidence(case.evidence.environment, (), ())), verdict))
        self.latencies_s.append(latency_s)

    def figures(self, near_share: float) -> dict[str, Any]:
        """What `nightlab verifier evaluate` prints. Agreement is counted where the truth lies outside the guard band."""
        threshold = self.band.threshold
        parts = {part: _counts(self._of(part), self.band) for part in ("balanced", "terminal")}
        balanced = [case for case, _ in self._of("balanced")]
        near = [abs(case.value - threshold) <= near_share * threshold for case in balanced]
        return {
            **_counts(self.cases, self.band),
            "latency_p95_s": round(float(np.percentile(self.latencies_s, 95)), 4) if self.latencies_s else None,
            "guard_band": [self.band.low, self.band.high],
            "threshold": threshold,
            "near_share": round(sum(near) / len(near), 4) if near else None,
            "success_share": round(sum(case.success for case in balanced) / len(balanced), 4) if balanced else None,
            "cameras": _cameras(self.cases, self.band),
            "parts": parts,
        }

    def wrong(self) -> list[dict[str, Any]]:
        """Every verdict that differs from the truth, inside the band as well."""
        return [
            {
                "part": case.part,
                "value": round(case.value, 6),
                "truth": "success" if case.success else "failure",
                "verdict": verdict.outcome.value,
                "score": round(verdict.score, 6),
                "reason": verdict.reason,
                "inside_band": _inside(case, self.band),
            }
            for case, verdict in self.cases
            if _said(verdict) is not case.success
        ]

    def _of(self, part: str) -> list[tuple[Case, Verdict]]:
        return [pair for pair in self.cases if pair[0].part == part]


def _said(verdict: Verdict) -> bool | None:
    """Success or not; None: unscored."""
    return None if verdict.outcome is Outcome.UNSCORED else verdict.outcome is Outcome.SUCCESS


def _inside(case: Case, band: GuardBand) -> bool:
    return band.low < case.value < band.high


def _counts(cases: Sequence[tuple[Case, Verdict]], band: GuardBand) -> dict[str, Any]:
    clear = [(case, verdict) for case, verdict in cases if not _inside(case, band)]
    agreed = sum(_said(verdict) is case.success for case, verdict in clear)
    positives = [(case, verdict) for case, verdict in cases if _said(verdict) and not case.success]
    negatives = [(case, verdict) for case, verdict in cases if _said(verdict) is False and case.success]
    return {
        "n": len(cases),
        "n_outside_band": len(clear),
        "agreement": round(agreed / len(clear), 5) if clear else None,
        "agreement_with_band": round(_share(_said(v) is c.success for c, v in cases), 5) if cases else None,
        "false_positives": len(positives),
        "false_negatives": len(negatives),
        "false_positives_outside_band": sum(not _inside(case, band) for case, _ in positives),
        "false_negatives_outside_band": sum(not _inside(case, band) for case, _ in negatives),
        "unsure_share": round(_share(_unsure(verdict) for _, verdict in cases), 5) if cases else None,
        "unscored": sum(_said(verdict) is None for _, verdict in cases),
    }


def _unsure(verdict: Verdict) -> bool:
    """Whether the first look of all cameras together was unsure, settled later or not."""
    said = set(verdict.cameras.values())
    return verdict.extra_frames > 0 or ("unsure" in said and "failure" not in said)


def _cameras(cases: Iterable[tuple[Case, Verdict]], band: GuardBand) -> dict[str, dict[str, int]]:
    """What each camera got wrong of the value alone, where the truth is outside the band; `unsure`: it had no opinion."""
    out: dict[str, dict[str, int]] = {}
    for case, verdict in cases:
        for camera, said in verdict.cameras.items():
            row = out.setdefault(camera, {"n": 0, "false_positives": 0, "false_negatives": 0, "unsure": 0})
            row["n"] += 1
            row["unsure"] += said == "unsure"
            if not _inside(case, band):
                row["false_positives"] += said == "success" and case.value < band.threshold
                row["false_negatives"] += said == "failure" and case.value >= band.threshold
    return out


def _share(values: Iterable[bool]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
