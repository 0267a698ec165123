"""Second line of defence: what must agree before an iteration's episodes may count. The first line is the sandbox.

Untrusted code cannot reach any of this. Should it ever, or should a person change frozen files in the middle of a
campaign, the iteration ends as INVALID: its episodes enter no rate and no decision, and the report says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from data.episodes import read_record
from data.lab import Lab
from environments.manifest import check as check_manifest
from nightlab.errors import LabError, TamperError
from nightlab.records import CampaignSpec, EpisodeRecord, IterationStatus, Outcome, Work
from policies.trainer import checkpoint_sha256
from tasks.context import LabContext


def pinned(spec: CampaignSpec) -> CampaignSpec:
    """The spec with the frozen manifest of today, which the whole campaign is held to. Raises TamperError."""
    return spec.model_copy(update={"manifest_sha256": check_manifest(spec.environment)})


def check_pin(spec: CampaignSpec, *, listed: bool = False) -> str:
    """The manifest's sha256.

    Args:
        spec: The campaign.
        listed: As `environments.manifest.check`.

    Raises:
        TamperError: a frozen file differs from the manifest, or the manifest was frozen anew since the campaign began.
    """
    manifest = check_manifest(spec.environment, listed=listed)
    if spec.manifest_sha256 and manifest != spec.manifest_sha256:
        raise TamperError(
            f"the manifest of {spec.environment} was frozen anew while {spec.campaign or 'the campaign'} ran "
            f"({spec.manifest_sha256[:12]} → {manifest[:12]}). Put the old code back, or start a new campaign: "
            f"nightlab run {spec.environment}"
        )
    return manifest


def check_checkpoint(folder: Path, sha256: str) -> None:
    """Raise TamperError unless the checkpoint is the one that training left; an empty sha256 is not checked."""
    if sha256 and checkpoint_sha256(folder, versioned=True) != sha256:
        raise TamperError(
            f"the checkpoint {folder} was changed after training (sha256 is not {sha256[:12]}). "
            f"Train it again with: nightlab replay {folder.name} --from train"
        )


def unbacked(lab: Lab, records: Iterable[EpisodeRecord]) -> list[str]:
    """Names of ledger rows that no stored episode stands behind, or one that says something else."""
    return [record.key.text() for record in records if not _backed(lab, record)]


def _backed(lab: Lab, record: EpisodeRecord) -> bool:
    if record.verdict.outcome is Outcome.UNSCORED:
        return True  # enters no rate
    name = record.key.text()
    try:
        return read_record((lab.spool_dir / f"{name}.episode").read_bytes(), name) == record
    except FileNotFoundError:  # in a shard by now
        return any(folder.is_dir() for folder in lab.judged_dirs(record.key))
    except (LabError, ValueError):
        return False


def foreign_policies(lab: LabContext, records: Iterable[EpisodeRecord]) -> list[str]:
    """Names of episodes that ran another checkpoint than one of the idea they are claimed for."""
    known: dict[str, set[str]] = {}
    for event in lab.ledger.events(kind="checkpoint"):
        known.setdefault(event.data["idea"], set()).add(event.data["sha256"])
    return [
        record.key.text()
        for record in records
        if record.key.idea in known and record.policy_sha256 not in known[record.key.idea]
    ]


async def end_tampered(lab: LabContext, work: Work, error: TamperError) -> dict[str, str]:
    """End an iteration whose frozen files, code or checkpoint were changed: a row for the report, then INVALID."""
    where = {"campaign": work.campaign, "iteration": work.iteration, "station": work.station}
    await lab.note("tamper", f"{work.campaign}:{work.iteration}:tamper", **where, reason=str(error))
    await lab.keeper.end_iteration(work.campaign, work.iteration, IterationStatus.INVALID, str(error))
    return {"status": IterationStatus.INVALID.value, "reason": str(error)}
