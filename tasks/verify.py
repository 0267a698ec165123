"""Stage 6: audit. The verdicts of the trial are compared with the frozen verifier's second look at the stored frames."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from data.episodes import read_evidence
from environments.verifier_client import VerifierClient
from nightlab.records import EpisodeRecord, Outcome
from tasks.context import LabContext
from tasks.integrity import check_pin, foreign_policies, unbacked
from tasks.stage import stage

AUDITED = 3
"""Unsuccessful episodes judged a second time per iteration."""
AUDITED_SUCCESSES = 20
"""Successes judged a second time per iteration: all of them, or so many drawn at random, so that nobody can know which.
Every episode of a campaign can be judged again: `nightlab verifier rescore`."""


@stage("verify", retry_delays_s=(1.0,))
async def verify(lab: LabContext, campaign: str, iteration: str, *, station: str) -> dict[str, Any]:
    """Episodes → counts, and any verdict that the frozen verifier does not confirm from the stored frames."""
    spec = lab.spec(campaign)
    manifest = check_pin(spec)
    records = [
        EpisodeRecord.model_validate(event.data)
        for event in lab.ledger.events(campaign=campaign, kind="episode", iteration=iteration)
    ]
    forged = unbacked(lab.lab, records)
    picks = to_audit([record for record in records if record.key.text() not in forged])
    changed: list[str] = []
    verifier = await VerifierClient.connect(lab.lab.verifier_socket)
    try:
        for record in picks:
            stored = read_evidence(lab.lab, record.key)
            again = await verifier.verify_stored(spec.environment, stored, start=record.reset.achieved)
            policys_fault = record.fault and record.verdict.outcome is Outcome.FAILURE  # whatever the frames show
            if not policys_fault and again.outcome is not record.verdict.outcome:
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


def to_audit(records: Sequence[EpisodeRecord]) -> list[EpisodeRecord]:
    """The episodes that are judged a second time."""
    won = [record for record in records if record.verdict.outcome is Outcome.SUCCESS]
    lost = [record for record in records if record.verdict.outcome is Outcome.FAILURE]
    draw = random.SystemRandom().sample
    return draw(won, min(len(won), AUDITED_SUCCESSES)) + draw(lost, min(len(lost), AUDITED))
