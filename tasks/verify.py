"""Stage 6: audit. The verdicts of the trial are compared with the frozen verifier's second look at the stored frames."""

from __future__ import annotations

from typing import Any

from data.episodes import read_evidence
from environments.verifier_client import VerifierClient
from nightlab.records import EpisodeRecord, Outcome
from tasks.context import LabContext
from tasks.integrity import check_pin, foreign_policies, unbacked
from tasks.stage import stage

AUDITED = 3
"""Episodes judged a second time per iteration, evenly spread; all of them can be: `nightlab verifier rescore`."""


@stage("verify", retry_delays_s=(1.0,))
async def verify(lab: LabContext, campaign: str, iteration: str, *, station: str) -> dict[str, Any]:
    """Episodes → counts, and any verdict that the frozen verifier does not confirm from the stored frames."""
    spec = lab.spec(campaign)
    manifest = check_pin(spec)
    records = [
        EpisodeRecord.model_validate(event.data)
        for event in lab.ledger.events(campaign=campaign, kind="episode")
        if event.data["key"]["iteration"] == iteration
    ]
    scored = [record for record in records if record.verdict.outcome is not Outcome.UNSCORED]
    picks = scored[:: max(1, len(scored) // AUDITED)][:AUDITED]
    forged = unbacked(lab.lab, records)
    changed: list[str] = []
    verifier = await VerifierClient.connect(lab.lab.verifier_socket)
    try:
        for record in picks:
            if record.key.text() in forged:
                continue
            stored = read_evidence(lab.lab, record.key)
            again = await verifier.verify_stored(spec.environment, stored, start=record.reset.achieved)
            if not record.fault and again.outcome is not record.verdict.outcome:
                changed.append(record.key.text())
    finally:
        await verifier.close()
    foreign = [
        record.key.text()
        for record in records
        if record.manifest_sha256 != manifest or record.verdict.verifier_sha256 != manifest
    ]
    result = {
        "episodes": len(records), "audited": len(picks), "changed": changed, "foreign_manifest": foreign,
        "forged": forged, "foreign_policy": foreign_policies(lab, records),
    }  # fmt: skip
    await lab.note(
        "verdict_audit",
        f"{campaign}:{iteration}:audit",
        campaign=campaign,
        iteration=iteration,
        station=station,
        **result,
    )
    return result
