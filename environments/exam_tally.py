"""Verdicts against the truth: agreement, false verdicts, unsure share, and what each camera alone got wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data.statistics import wilson
from environments.fusion import GuardBand
from nightlab.records import Outcome, Verdict


@dataclass(frozen=True, slots=True)
class Known:
    """What the ground truth says of one episode."""

    success: bool
    value: float
    """What the threshold is about."""
    part: str
    """`balanced`, or `terminal` for the end of a good policy's episode."""


@dataclass(slots=True)
class Tally:
    """Verdicts against the truth."""

    band: GuardBand
    cases: list[tuple[Known, Verdict]] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)

    def add(self, known: Known, verdict: Verdict, latency_s: float) -> None:
        """Count one verdict, which took `latency_s` on the wall."""
        self.cases.append((known, verdict))
        self.latencies_s.append(latency_s)

    def figures(self, near_share: float) -> dict[str, Any]:
        """What `nightlab verifier evaluate` prints. Agreement is counted where the truth lies outside the guard band."""
        threshold = self.band.threshold
        parts = {part: _counts(self._of(part), self.band) for part in ("balanced", "terminal")}
        balanced = [case for case, _ in self._of("balanced")]
        near = [abs(case.value - threshold) <= near_share * threshold for case in balanced]
        return {
            **_counts(self.cases, self.band),
            "latency_p50_s": round(float(np.percentile(self.latencies_s, 50)), 4) if self.latencies_s else None,
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

    def _of(self, part: str) -> list[tuple[Known, Verdict]]:
        return [pair for pair in self.cases if pair[0].part == part]


def _said(verdict: Verdict) -> bool | None:
    """Success or not; None: unscored."""
    return None if verdict.outcome is Outcome.UNSCORED else verdict.outcome is Outcome.SUCCESS


def _inside(case: Known, band: GuardBand) -> bool:
    return band.low < case.value < band.high


def _counts(cases: Sequence[tuple[Known, Verdict]], band: GuardBand) -> dict[str, Any]:
    clear = [(case, verdict) for case, verdict in cases if not _inside(case, band)]
    agreed = sum(_said(verdict) is case.success for case, verdict in clear)
    positives = [(case, verdict) for case, verdict in cases if _said(verdict) and not case.success]
    negatives = [(case, verdict) for case, verdict in cases if _said(verdict) is False and case.success]
    return {
        "n": len(cases),
        "n_outside_band": len(clear),
        "agreement": round(agreed / len(clear), 5) if clear else None,
        "agreement_wilson": [round(bound, 5) for bound in wilson(agreed, len(clear))] if clear else None,
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


def _cameras(cases: Iterable[tuple[Known, Verdict]], band: GuardBand) -> dict[str, dict[str, int]]:
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
