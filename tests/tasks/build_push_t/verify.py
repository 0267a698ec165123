"""A first attempt at a verifier: the last frame alone, and a threshold that is too low."""

from __future__ import annotations

from environments.fusion import GuardBand
from environments.push_t import spec
from environments.push_t.vision import look
from nightlab.contracts import EpisodeEvidence
from nightlab.geometry import coverage
from nightlab.records import Outcome, Verdict

FRAMES = slice(-1, None)
THRESHOLD = 0.85


class PushTVerifier:
    """Judges by coverage in the frames of FRAMES."""

    def __init__(self, manifest_sha256: str = "") -> None:
        self.manifest_sha256 = manifest_sha256

    def verify(self, evidence: EpisodeEvidence) -> Verdict:
        fits = [look(frame.rgb).block for frame in evidence.frames[FRAMES]]
        scores = [0.0 if fit is None else coverage(fit.pose.tolist()) for fit in fits]
        good = min(scores, default=0.0) >= THRESHOLD
        return Verdict(
            outcome=Outcome.SUCCESS if good else Outcome.FAILURE,
            score=min(scores, default=0.0),
            reason="held" if good else "missed_goal",
            verifier_sha256=self.manifest_sha256,
        )


def is_unsure(evidence: EpisodeEvidence) -> bool:
    """This one is always sure."""
    return False


BAND = GuardBand(spec.SUCCESS_COVERAGE, *spec.GUARD_BAND)
