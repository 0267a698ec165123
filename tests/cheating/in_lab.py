"""Beyond the sandbox, in a lab: rows, verdicts, stored episodes, code and checkpoints that somebody changes there.

The real audit and the real end of an iteration find it out; what is said is what the campaign's report page says.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import os
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.campaign_state import CampaignState
from data.episodes import EpisodeArrays, pack, unpack
from data.keeper_client import KeeperClient
from data.lab import Lab
from data.report import write_report
from data.testing import scripted_lab
from environments import manifest
from environments.verifier_process import VerifierServer
from nightlab.contracts import Values
from nightlab.errors import TamperError
from nightlab.records import (
    CampaignSpec,
    Checkpoint,
    EpisodeRecord,
    IterationStatus,
    Proposal,
    ProposalStatus,
    SeedPool,
    Work,
    WorkKind,
)
from nightlab.records import Outcome as Scored
from policies.trainer import checkpoint_sha256
from tests.cheating.attack import Outcome, Tried, attack, switched_off
from tests.cheating.house import House
from tests.cheating.in_episode import SOLVED, TableTrial, evidence, job, world

BEYOND = "somebody past the sandbox"


def idle(seen: Values, given: int) -> list[dict[str, object]] | None:
    """A policy that moves once, a little, and says done: an honest failure."""
    return None if given else [{"target_xy": seen["agent_xy"] + 1.0}]


@dataclass(slots=True)
class Campaign:
    """A lab in the middle of the trial of I1: its keeper, its verifier and the episodes so far."""

    lab: Lab
    keeper: Any
    work: Work

    def records(self, idea: str = "I1") -> list[EpisodeRecord]:
        """The ledger's rows."""
        from data.ledger import LedgerReader

        with LedgerReader(self.lab.ledger_path) as ledger:
            rows = [EpisodeRecord.model_validate(event.data) for event in ledger.events(kind="episode")]
        return [row for row in rows if row.key.idea == idea]

    def successes(self) -> int:
        """What the campaign counts for I1."""
        from data.ledger import LedgerReader

        with LedgerReader(self.lab.ledger_path) as ledger:
            events = ledger.events(campaign="C1")
        return CampaignState.from_events(CampaignSpec(campaign="C1"), events).rate("I1").successes

    def report(self) -> str:
        """The text of the report page's section on trust."""
        text = write_report(self.lab, "C1").read_text()
        section = text[text.index("Can it be trusted?") :]
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", section)).split())


@contextlib.asynccontextmanager
async def campaign(house: House) -> AsyncIterator[Campaign]:
    """A lab whose idea I1 ran honestly, and failed, on three seeds: a copy of one that was made once."""
    if house.template is None:
        house.template = await _template(house)
    path = house.fresh() / "lab"
    shutil.copytree(house.template, path)
    lab = Lab(path)
    os.environ["NIGHTLAB_LAB"] = str(path)
    judge = await asyncio.start_unix_server(VerifierServer().serve, lab.verifier_socket)
    async with house.keeper(lab), KeeperClient(lab.keeper_socket) as keeper:
        work = Work(kind=WorkKind.SEARCH, campaign="C1", iteration="I1", station="robot-1", idea="I1", parent="I0")
        try:
            yield Campaign(lab, keeper, work)
        finally:
            judge.close()


async def _template(house: House) -> Path:
    lab = scripted_lab(house.fresh() / "lab")
    async with house.keeper(lab), KeeperClient(lab.keeper_socket) as keeper:
        await keeper.start_campaign(CampaignSpec(manifest_sha256=manifest.check("push_t")))
        workspace = await keeper.open_workspace("I1", "I0")
        proposal = Proposal(status=ProposalStatus.OK, researcher="offline", hypothesis="go round", parents=("I0",))
        await keeper.commit_idea("C1", "I1", proposal, workspace)
        made = lab.checkpoints_dir / "I1"
        made.mkdir()
        (made / "config.json").write_text("{}")
        checkpoint = Checkpoint(path="checkpoints/I1", sha256=checkpoint_sha256(made))
        await keeper.add_checkpoint("C1", "I1", "I1", checkpoint)
        await TableTrial(job((1, 2, 3), sha256=checkpoint.sha256), keeper, idle, world()).run()
    return lab.path


async def audited(found: Campaign) -> Tried:
    """Audit and end the iteration as its flow does; success of an attack: I1 counts successes it never had."""
    from tasks.summarize import BREACHES, summarize
    from tasks.verify import verify

    audit = await verify.fn("C1", "I1", station="robot-1")
    if any(audit[name] for name in BREACHES):
        ended = await summarize.fn("C1", "I1", station="robot-1", decide=True, audit=audit)
        assert ended["status"] == IterationStatus.INVALID.value
    return Tried(found.successes() > 0, found.report())


async def ended_as_invalid(house: House, error: TamperError) -> str:
    """End an iteration with what was found, and return what the report says."""
    from tasks.context import LabContext
    from tasks.integrity import end_tampered

    async with campaign(house) as found:
        await end_tampered(LabContext.here(), found.work, error)
        return found.report()


def won(record: EpisodeRecord, **fields: Any) -> EpisodeRecord:
    """The record of a success."""
    verdict = record.verdict.model_copy(update={"outcome": Scored.SUCCESS, "score": 0.99, "reason": "held"})
    return record.model_copy(update={"verdict": verdict, **fields})


def solved_arrays(found: Campaign) -> EpisodeArrays:
    """The arrays of a stored episode with the frames of a success."""
    name = found.records()[-1].key.text()
    _, arrays = unpack((found.lab.spool_dir / f"{name}.episode").read_bytes())
    what = evidence(SOLVED)
    return arrays.with_frames(what.frames, what.observations)


def insert(lab: Lab, record: EpisodeRecord) -> None:
    """Write an episode's row straight into the ledger's database."""
    with contextlib.closing(sqlite3.connect(lab.ledger_path)) as ledger:
        ledger.execute(
            "INSERT INTO events (event_id,kind,campaign,iteration,station,wall_s,schema_version,data) "
            "VALUES (?,'episode','C1',?,'robot-1',1.0,1,?)",
            (f"episode:{record.key.text()}", record.key.iteration, record.model_dump_json()),
        )
        ledger.commit()


@attack(BEYOND, "insert a success that never ran", defence="an audit looks for every row's stored episode", outcome=Outcome.INVALID,
        control="no audit", says="ledger rows without the stored episode behind them")  # fmt: skip
async def forge_a_row(house: House, defended: bool) -> Tried:
    async with campaign(house) as found:
        last = found.records()[-1]
        insert(found.lab, won(last, key=last.key.model_copy(update={"seed": 99})))
        return await audited(found) if defended else Tried(found.successes() > 0, "")


@attack(BEYOND, "claim the stored successes of another idea", defence="an episode must have run the idea's own checkpoint",
        outcome=Outcome.INVALID, control="no look at the checkpoint's hash", says="episodes of another idea's checkpoint")  # fmt: skip
async def claim_another_ideas_episodes(house: House, defended: bool) -> Tried:
    import tasks.verify

    async with campaign(house) as found:
        mine, arrays = found.records()[-1], solved_arrays(found)
        stolen = won(mine, key=mine.key.model_copy(update={"seed": 99}), policy_sha256="of-another-idea")
        await found.keeper.put_episode(stolen, arrays)
        with switched_off(tasks.verify, "foreign_policies", lambda *_: [], really=not defended):
            return await audited(found)


@attack(BEYOND, "hand in a verdict that the frames do not bear out", defence="stored frames are judged a second time",
        outcome=Outcome.INVALID, control="no second look", says="the frozen verifier contradicts stored verdicts")  # fmt: skip
async def write_its_own_verdict(house: House, defended: bool) -> Tried:
    import tasks.verify

    async with campaign(house) as found:
        mine = found.records()[-1]
        _, arrays = unpack((found.lab.spool_dir / f"{mine.key.text()}.episode").read_bytes())
        for seed in (98, 99):
            await found.keeper.put_episode(won(mine, key=mine.key.model_copy(update={"seed": seed})), arrays)
        with switched_off(tasks.verify, "to_audit", lambda _: [], really=not defended):
            return await audited(found)


@attack(BEYOND, "run the trial under a verifier of one's own", defence="verdicts must carry the campaign's manifest",
        outcome=Outcome.INVALID, control="no look at who judged", says="judged under another manifest than the campaign's")  # fmt: skip
async def bring_its_own_verifier(house: House, defended: bool) -> Tried:
    from tasks.summarize import BREACHES

    async with campaign(house) as found:
        mine, arrays = found.records()[-1], solved_arrays(found)
        judged = won(mine, key=mine.key.model_copy(update={"seed": 99}))
        verdict = judged.verdict.model_copy(update={"verifier_sha256": "f" * 64})
        await found.keeper.put_episode(judged.model_copy(update={"verdict": verdict}), arrays)
        breaches = dict(BREACHES)
        try:
            if not defended:
                del BREACHES["foreign_manifest"]
            return await audited(found)
        finally:
            BREACHES.update(breaches)


@attack(BEYOND, "swap a stored episode for a better one", defence="row and stored episode must say the same",
        outcome=Outcome.INVALID, control="no look for the stored episode", says="ledger rows without the stored episode")  # fmt: skip
async def swap_a_stored_episode(house: House, defended: bool) -> Tried:
    import tasks.verify

    async with campaign(house) as found:
        mine = found.records()[-1]
        path = found.lab.spool_dir / f"{mine.key.text()}.episode"
        _, arrays = unpack(path.read_bytes())
        path.write_bytes(pack(won(mine), arrays))
        with switched_off(tasks.verify, "unbacked", lambda *_: [], really=not defended):
            tried = await audited(found)
        kept, _ = unpack(path.read_bytes())
        swapped = kept.verdict.outcome is Scored.SUCCESS and "No iteration was INVALID" in tried.said
        return Tried(swapped, tried.said)


@attack(BEYOND, "change the idea's code after its commit", defence="exported code must be what git holds", outcome=Outcome.INVALID,
        control="the exported folder as it is", says="the code of I1 was changed after its commit: policy.py")  # fmt: skip
async def swap_the_code(house: House, defended: bool) -> Tried:
    from data import ideas

    async with campaign(house) as found:
        code = await found.keeper.export_idea("I1")
        (code / "policy.py").chmod(0o644)
        (code / "policy.py").write_text("# another policy\n")
        with switched_off(ideas, "_unchanged", lambda target, *_: target, really=not defended):
            try:
                again = await found.keeper.export_idea("I1")
            except TamperError as error:
                return Tried(False, await _end(found, error))
        return Tried("another" in (again / "policy.py").read_text(), "")


@attack(BEYOND, "change the checkpoint after training", defence="its hash is taken again before it is loaded",
        outcome=Outcome.INVALID, control="no hash", says="was changed after training")  # fmt: skip
async def swap_the_checkpoint(house: House, defended: bool) -> Tried:
    from tasks import integrity

    async with campaign(house) as found:
        made = found.lab.checkpoints_dir / "I1"
        sha256 = checkpoint_sha256(made)
        (made / "config.json").write_text('{"gain": 9}')
        try:
            integrity.check_checkpoint(made, sha256 if defended else "")
        except TamperError as error:
            return Tried(False, await _end(found, error))
        return Tried(True, "")


@attack(BEYOND, "keep the successes of an iteration that was found out", defence="results of INVALID iterations enter no rate",
        outcome=Outcome.INVALID, control="results that stay", says="INVALID iterations enter no rate")  # fmt: skip
async def keep_what_was_found_out(house: House, defended: bool) -> Tried:

    async with campaign(house) as found:
        mine = found.records()[-1]
        _, arrays = unpack((found.lab.spool_dir / f"{mine.key.text()}.episode").read_bytes())
        await found.keeper.put_episode(won(mine, key=mine.key.model_copy(update={"seed": 99})), arrays)
        said = await _end(found, TamperError("a frozen file was changed"))
        with switched_off(CampaignState, "_forget", lambda *_: None, really=not defended):
            return Tried(found.successes() > 0, said)


@attack("trial", "draw confirmation seeds again until easy ones come", outcome=Outcome.IMPOSSIBLE,
        defence="the same question gets the same seeds", control="fresh seeds at every question", says="the same seeds")  # fmt: skip
async def draw_seeds_until_easy(house: House, defended: bool) -> Tried:
    from data.desk import Desk

    async with campaign(house) as found:
        with switched_off(Desk, "draw", Desk._draw, really=not defended):
            draws = [await found.keeper.draw("C1", "I1", SeedPool.CONFIRM, 5, "confirm") for _ in range(2)]
    return Tried(draws[0] != draws[1], "the same seeds" if draws[0] == draws[1] else "others")


async def _end(found: Campaign, error: TamperError) -> str:
    from tasks.context import LabContext
    from tasks.integrity import end_tampered

    await end_tampered(LabContext.here(), found.work, error)
    return found.report()
