"""`nightlab verifier rescore`: judge every recorded episode of a campaign again, and list the verdicts that change."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightlab.errors import LabError

if TYPE_CHECKING:
    from data.lab import Lab
    from environments.workbench.judge import Judge
    from nightlab.records import EpisodeRecord, Verdict

RECORDED = "recorded"
RUN_ENDS = ("policy_fault", "safety_stop")
"""Ends that the trial writes into the verdict itself, over what the verifier said of the frames."""


def rescore(
    lab: Annotated[Path, typer.Option(help="Lab directory")] = Path("lab"),
    campaign: Annotated[str, typer.Option(help="Only this campaign, e.g. C1; default: all")] = "",
    version: Annotated[
        str,
        typer.Option(help="recorded (the version that judged each episode), current, a manifest's sha256, or a folder"),
    ] = RECORDED,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON")] = False,
) -> None:
    """Judge recorded episodes again, from their stored frames. With the same version every verdict is the same."""
    from commands.verifier_recorded import episodes_of
    from data.lab import Lab

    opened = Lab.open(lab)
    records = [record for name in _environments(opened) for record in episodes_of(opened, name, campaign)]
    if not records:
        raise LabError(f"no recorded episode{f' of {campaign}' if campaign else ''} in {opened.path}")
    found = asyncio.run(rejudge(opened, records, version))
    print(json.dumps(found) if as_json else _text(found))


async def rejudge(lab: Lab, records: list[EpisodeRecord], wanted: str) -> dict[str, Any]:
    """Every record judged by the wanted version: counts, and each verdict that differs in any part but its latency."""
    from environments.workbench.judge import Judge
    from environments.workbench.versions import find

    changed: list[dict[str, Any]] = []
    used: dict[str, dict[str, Any]] = {}
    outcomes: Counter[str] = Counter()
    exact = missing = 0
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nightlab-versions-")))
        judges: dict[tuple[str, str], Judge] = {}
        for record in records:
            ask = record.verdict.verifier_sha256 or record.manifest_sha256 if wanted == RECORDED else wanted
            place = (record.environment, ask)
            if place not in judges:
                version = find(record.environment, ask, folder / str(len(judges)))
                judges[place] = await stack.enter_async_context(Judge(version))
                used[version.sha256] = {"environment": record.environment, "source": version.source, "n": 0}
            used[judges[place].version.sha256]["n"] += 1
            again = await _again(lab, judges[place], record)
            if again is None:
                missing += 1
                continue
            differing = differences(record, again)
            exact += not differing
            outcomes[f"{record.verdict.outcome.value} → {again.outcome.value}"] += 1
            if differing:
                changed.append(_change(record, again, differing))
    flips = [change for change in changed if "outcome" in change["differs"]]
    return {
        "lab": str(lab.path),
        "version": wanted,
        "versions": used,
        "n": len(records),
        "exact": exact,
        "changed": len(changed),
        "outcome_changed": len(flips),
        "frames_missing": missing,
        "outcomes": dict(outcomes.most_common()),
        "changes": changed,
    }


async def _again(lab: Lab, judge: Judge, record: EpisodeRecord) -> Verdict | None:
    """The new verdict; None if the frames are not there (any more)."""
    from data.episodes import read_evidence

    try:
        stored = read_evidence(lab, record.key)
    except LabError:
        return None
    judged = await judge.verify(record.environment, stored, start=record.reset.achieved)
    verdict = judged.verdict
    if record.end.value in RUN_ENDS and verdict.outcome.value != "unscored":
        # As the trial does: a policy that broke has failed, whatever the frames show (tasks/trial.py).
        fault = f"{record.end.value}: {record.fault}"[:300]
        verdict = verdict.model_copy(update={"outcome": type(verdict.outcome).FAILURE, "reason": fault})
    return verdict


def differences(record: EpisodeRecord, again: Verdict) -> list[str]:
    """Fields of the recorded verdict that the new one has differently; latency and the version's name left out."""
    before, after = record.verdict.model_dump(mode="json"), again.model_dump(mode="json")
    return [name for name in before if name not in ("latency_s", "verifier_sha256") and before[name] != after.get(name)]


def _change(record: EpisodeRecord, again: Verdict, differing: list[str]) -> dict[str, Any]:
    names = ("outcome", "reason", "score")
    before, after = record.verdict.model_dump(mode="json"), again.model_dump(mode="json")
    return {
        "episode": record.key.text(),
        "differs": differing,
        "before": {name: before[name] for name in names},
        "after": {name: after[name] for name in names},
    }


def _environments(lab: Lab) -> list[str]:
    from data.ledger import LedgerReader

    events = LedgerReader(lab.ledger_path).events(kind="episode")
    return list(dict.fromkeys(str(event.data["environment"]) for event in events))


def _text(found: dict[str, Any]) -> str:
    lines = [
        f"{found['n']} episodes judged again: {found['exact']} exactly as recorded, {found['changed']} changed, "
        f"{found['outcome_changed']} of them in their outcome, {found['frames_missing']} without frames"
    ]
    for sha256, use in found["versions"].items():
        lines.append(f"  by {use['environment']} {sha256[:12]} ({use['source']}): {use['n']}")
    lines += [f"  {pair}: {count}" for pair, count in found["outcomes"].items()]
    for change in found["changes"]:
        before, after = change["before"], change["after"]
        lines.append(
            f"{change['episode']}: {before['outcome']} ({before['reason']}, {before['score']:.4f}) → {after['outcome']} "
            f"({after['reason']}, {after['score']:.4f}); differs in {', '.join(change['differs'])}"
        )
    return "\n".join(lines)
