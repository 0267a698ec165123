from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.episodes import pack
from data.keeper_client import KeeperClient, SyncKeeperClient
from data.lab import Lab
from data.ledger import LedgerReader
from data.seeds import pool_of
from data.spool import Spool
from data.testing import PROJECT, ready_file, running, scripted_arrays, scripted_lab, scripted_record
from nightlab.errors import ServiceError, UsageError
from nightlab.records import (
    CampaignSpec,
    Checkpoint,
    Event,
    IterationStatus,
    LabConfig,
    Outcome,
    Proposal,
    ProposalStatus,
    SeedPool,
    StationConfig,
    WorkKind,
)

KEEPER = "data.keeper"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return scripted_lab(tmp_path / "lab")


def note(name: str) -> Event:
    return Event(event_id=name, kind="note", wall_s=time.time(), data={"text": name})


def episodes_of(lab: Lab) -> list[str]:
    with LedgerReader(lab.ledger_path) as reader:
        return [event.event_id for event in reader.events(kind="episode")]


def test_calls_are_idempotent(lab: Lab) -> None:
    async def calls() -> None:
        async with KeeperClient(lab.keeper_socket) as keeper:
            assert await keeper.append(note("a")) == await keeper.append(note("a"))
            record, arrays = scripted_record(1), scripted_arrays(5)
            assert await keeper.put_episode(record, arrays) is True
            assert await keeper.put_episode(record, arrays) is False
            assert await keeper.finished("I1", "I1") == {(SeedPool.SEARCH, 1)}
            unscored = scripted_record(2, outcome=Outcome.UNSCORED)
            await keeper.put_episode(unscored, arrays)
            assert await keeper.finished("I1", "I1") == {(SeedPool.SEARCH, 1)}

    with running(KEEPER, lab.path):
        asyncio.run(calls())
    assert len(episodes_of(lab)) == 2
    assert len(Spool(lab.spool_dir).of("C1", "I1")) == 2


def test_a_campaign_has_a_name_a_baseline_and_work(lab: Lab) -> None:
    async def calls() -> None:
        async with KeeperClient(lab.keeper_socket) as keeper:
            spec = await keeper.start_campaign(CampaignSpec(baseline_n=20))
            assert spec.campaign == "C1"
            assert await keeper.start_campaign(spec) == spec
            work = await keeper.claim("C1", "robot-1")
            assert (work.kind, work.iteration, work.idea) == (WorkKind.BASELINE, "I0", "I0")
            other = await keeper.claim("C1", "robot-2")
            assert set(work.seeds).isdisjoint(other.seeds)
            assert (other.kind, other.iteration, other.idea) == (WorkKind.BASELINE, "E1", "I0")
            assert {pool_of(seed) for seed in work.seeds} == {SeedPool.SEARCH}
            second = await keeper.start_campaign(CampaignSpec())
            assert second.campaign == "C2"
            again = await keeper.claim("C2", "robot-1")
            assert (again.kind, again.iteration) == (WorkKind.BASELINE, "I1")
            with pytest.raises(UsageError, match=r"unknown campaign 'C9'; there are: C1, C2\. Try: nightlab status"):
                await keeper.claim("C9", "robot-1")

    with running(KEEPER, lab.path):
        asyncio.run(calls())
    branches = subprocess.run(["git", "-C", str(lab.path), "branch"], capture_output=True, text=True, check=True).stdout
    assert "research/offline" in branches


def test_a_campaign_knows_whether_its_stations_are_all_simulated(lab: Lab) -> None:
    ours, shared, real = (
        StationConfig(station="robot-1"),
        StationConfig(station="robot-2", remote=True, address="10.0.0.2:1", admin_socket="/run/admin.sock"),
        StationConfig(station="robot-3", remote=True, address="10.0.0.3:1"),
    )

    async def differ(*stations: StationConfig) -> bool:
        lab.write_config(LabConfig(stations=stations))
        async with KeeperClient(lab.keeper_socket) as keeper:
            spec = await keeper.start_campaign(CampaignSpec())
        assert LedgerReader(lab.ledger_path).events(kind="campaign_started")[-1].data == spec.model_dump(mode="json")
        return spec.stations_differ

    with running(KEEPER, lab.path):
        assert not asyncio.run(differ(ours, shared))
        assert asyncio.run(differ(ours, real))
    assert not CampaignSpec.model_validate({"campaign": "C1"}).stations_differ, "of a ledger that does not say it"
    assert CampaignSpec(profile="real").stations_differ


def test_a_campaign_at_more_stations_than_the_lab_has_is_refused(lab: Lab) -> None:
    async def call() -> None:
        async with KeeperClient(lab.keeper_socket) as keeper:
            with pytest.raises(UsageError) as refused:
                await keeper.start_campaign(CampaignSpec(stations=3))
            assert str(refused.value) == (
                "a campaign at 3 stations: the lab has 2 (left, right). Ask for fewer, or declare more in "
                f"{lab.config_path}"
            )
            assert (await keeper.start_campaign(CampaignSpec(stations=1))).campaign == "C1"

    lab.write_config(LabConfig(stations=(StationConfig(station="left"), StationConfig(station="right"))))
    with running(KEEPER, lab.path):
        asyncio.run(call())


def test_an_idea_from_workspace_to_decision(lab: Lab) -> None:
    proposal = Proposal(status=ProposalStatus.OK, researcher="offline", hypothesis="go round", parents=("I0",))

    async def calls() -> None:
        async with KeeperClient(lab.keeper_socket) as keeper:
            await keeper.start_campaign(CampaignSpec(confirm_n=5))
            workspace = await keeper.open_workspace("I1", "I0")
            (workspace / "policy.py").write_text("# better")
            idea = await keeper.commit_idea("C1", "I1", proposal, workspace)
            assert (idea.idea, idea.parent, idea.branch) == ("I1", "I0", "research/offline")
            assert await keeper.commit_idea("C1", "I1", proposal, lab.path / "nowhere") == idea
            code = await keeper.export_idea("I1")
            assert (code / "policy.py").read_text() == "# better"
            with pytest.raises(UsageError, match="unknown trained idea 'I1'"):
                await keeper.policy_files("I1")
            await keeper.add_checkpoint("C1", "I1", "I1", Checkpoint(path="checkpoints/I1", sha256="abc"))
            files = await keeper.policy_files("I1")
            assert files == {
                "idea": "I1",
                "code_dir": str(code),
                "checkpoint_dir": str(lab.path / "checkpoints/I1"),
                "sha256": "abc",
            }
            plan = await keeper.trial_plan("C1", "I1", "I1")
            assert (plan.incumbent, len(plan.search_seeds)) == ("I0", 20)
            fresh = await keeper.draw("C1", "I1", SeedPool.CONFIRM, 5, "confirm")
            assert fresh == await keeper.draw("C1", "I1", SeedPool.CONFIRM, 5, "confirm")
            assert set(fresh).isdisjoint(await keeper.draw("C1", "I2", SeedPool.CONFIRM, 5, "confirm"))
            arrays = scripted_arrays(3, film=False, frames=1)
            for pool, seeds in ((SeedPool.SEARCH, plan.search_seeds), (SeedPool.CONFIRM, fresh)):
                for seed in seeds:
                    for name, outcome in (("I1", Outcome.SUCCESS), ("I0", Outcome.FAILURE)):
                        await keeper.put_episode(scripted_record(seed, idea=name, outcome=outcome, pool=pool), arrays)
            judgement = await keeper.judge("C1", "I1")
            assert (judgement.decision.value, judgement.against) == ("keep", "I0")
            assert await keeper.judge("C1", "I1") == judgement
            assert await keeper.stop_trial("C1", "I1") == ""
            mended = lab.path.parent / "mended"
            mended.mkdir()
            (mended / "policy.py").write_text("# mended")
            by_hand = await keeper.commit_mended("C1", "I1.r1", "I1", mended)
            assert (by_hand.parent, by_hand.proposal.researcher) == ("I1", "person")
            assert (await keeper.export_idea("I1.r1") / "policy.py").read_text() == "# mended"
            assert (await keeper.export_idea("I1.r1") / "train.py").exists()

    with running(KEEPER, lab.path):
        asyncio.run(calls())
    where = ["git", "-C", str(lab.path), "rev-parse", "research/offline", "refs/ideas/I1"]
    branch, idea = subprocess.run(where, capture_output=True, text=True, check=True).stdout.split()
    assert branch == idea


def test_a_replay_has_the_seeds_of_its_origin(lab: Lab) -> None:
    async def calls() -> None:
        async with KeeperClient(lab.keeper_socket) as keeper:
            await keeper.start_campaign(CampaignSpec())
            work = await keeper.claim("C1", "robot-1")
            for seed in work.seeds[:4]:
                await keeper.put_episode(scripted_record(seed, iteration="I0", idea="I0"), scripted_arrays(3))
            again = await keeper.start_replay("C1", "I0", "robot-2", "rollout")
            assert (again.iteration, again.idea, again.station) == ("I0.r1", "I0", "robot-2")
            assert again.seeds == work.seeds[:4]
            assert (await keeper.start_replay("C1", "I0", "robot-2", "rollout")).iteration == "I0.r2"
            with pytest.raises(UsageError, match="unknown iteration 'I77'; there are: I0"):
                await keeper.start_replay("C1", "I77", "robot-1", "rollout")

    with running(KEEPER, lab.path):
        asyncio.run(calls())


CLAIM = """
import asyncio, sys
from pathlib import Path
from data.keeper_client import KeeperClient
async def main():
    async with KeeperClient(Path(sys.argv[1])) as keeper:
        print((await keeper.claim("C1", "robot-1")).model_dump_json())
asyncio.run(main())
"""


def test_work_of_a_dead_station_flow_is_handed_out_again(lab: Lab) -> None:
    def claim() -> str:
        script = [sys.executable, "-c", CLAIM, str(lab.keeper_socket)]
        return subprocess.run(script, cwd=PROJECT, capture_output=True, text=True, check=True).stdout

    async def mine() -> tuple[str, str]:
        async with KeeperClient(lab.keeper_socket) as keeper:
            return ((await keeper.claim("C1", "robot-1")).iteration, (await keeper.claim("C1", "robot-1")).iteration)

    with running(KEEPER, lab.path), SyncKeeperClient(lab.keeper_socket) as keeper:
        keeper.call("start_campaign", spec=CampaignSpec().model_dump(mode="json"), request="r")
        first = claim()
        assert claim() == first
        alive = asyncio.run(mine())
        assert alive[0] == "I0"
        assert alive[1] != "I0"
    with LedgerReader(lab.ledger_path) as reader:
        assert [e.iteration for e in reader.events(kind="work_claimed")][:3] == ["I0", "I0", "I0"]


def test_an_episode_without_its_row_is_adopted_exactly_once(lab: Lab) -> None:
    """The state after kill -9 between spool and ledger: the file is whole, the row is missing."""
    record = scripted_record(41)
    Spool(lab.spool_dir).put(record, pack(record, scripted_arrays(5)))
    torn = Spool(lab.spool_dir).path(scripted_record(42).key.text())
    torn.write_bytes(b"half an episode")
    for expected in (1, 0):
        with running(KEEPER, lab.path), SyncKeeperClient(lab.keeper_socket) as keeper:
            assert ready_file(KEEPER, lab.path)["adopted"] == expected
            assert keeper.put_episode(record, scripted_arrays(5)) is False
    assert episodes_of(lab) == [f"episode:{record.key.text()}"]
    with LedgerReader(lab.ledger_path) as reader:
        assert [e.data["episode"] for e in reader.events(kind="recovered")] == [record.key.text()]
    assert [path.name for path in (lab.spool_dir / "torn").iterdir()] == [torn.name]


def test_a_killed_keeper_loses_nothing_and_counts_nothing_twice(lab: Lab) -> None:
    arrays = scripted_arrays(20)

    async def produce(count: int) -> None:
        async with KeeperClient(lab.keeper_socket) as keeper:
            for seed in range(count):
                await keeper.put_episode(scripted_record(seed), arrays)

    async def main() -> None:
        task = asyncio.create_task(produce(120))
        for delay_s in (0.11, 0.17, 0.23):
            with contextlib.ExitStack() as stack:
                process = stack.enter_context(running(KEEPER, lab.path))
                await asyncio.sleep(delay_s)
                process.send_signal(signal.SIGKILL)
                process.wait()
        with running(KEEPER, lab.path):
            await task

    asyncio.run(main())
    found = episodes_of(lab)
    assert len(found) == len(set(found)) == 120
    assert len(Spool(lab.spool_dir).of("C1", "I1")) == 120
    assert not list(lab.spool_dir.glob(".*"))


def test_there_is_one_keeper_only(lab: Lab) -> None:
    with running(KEEPER, lab.path):
        second = subprocess.run(
            [sys.executable, "-m", KEEPER, "--lab", str(lab.path)],
            cwd=PROJECT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert second.returncode == 2
        assert "another keeper serves" in second.stderr
        assert len(second.stderr.splitlines()) == 1
        with SyncKeeperClient(lab.keeper_socket) as keeper:
            assert keeper.append(note("still here")) > 0


def test_wrong_calls_get_one_clear_line(lab: Lab) -> None:
    with running(KEEPER, lab.path), SyncKeeperClient(lab.keeper_socket) as keeper:
        with pytest.raises(UsageError, match=r"unknown call 'shutdown'; there are: .*append"):
            keeper.call("shutdown")
        with pytest.raises(UsageError, match="the keeper cannot read this call"):
            keeper.call("append", event={"kind": "nonsense"})
        with pytest.raises(UsageError, match="the keeper cannot read this call"):
            keeper.call("append")
        assert keeper.append(note("fine")) > 0


def test_nobody_there_is_said_with_the_way_out(tmp_path: Path) -> None:
    client = SyncKeeperClient(tmp_path / "run" / "keeper.sock", retry_s=0.1)
    with pytest.raises(ServiceError, match=r"has not answered for 0\.1 s .*Start it with: nightlab up --lab"):
        client.append(note("lost"))


def test_the_socket_belongs_to_the_user_alone(lab: Lab) -> None:
    with running(KEEPER, lab.path):
        assert os.stat(lab.keeper_socket).st_mode & 0o077 == 0


def test_flush_without_a_recorder_says_so(lab: Lab) -> None:
    async def calls() -> None:
        async with KeeperClient(lab.keeper_socket) as keeper:
            await keeper.start_campaign(CampaignSpec())
            await keeper.end_iteration("C1", "I0", IterationStatus.STOPPED)
            with pytest.raises(ServiceError, match=r"1 iterations wait for the recorder \(which never asked for"):
                await keeper.flush(0.5)

    with running(KEEPER, lab.path):
        asyncio.run(calls())


def test_it_stays_quick_while_git_works(lab: Lab) -> None:
    """Episodes beside idea commits: the median stays below half a control period even on a crowded machine.

    Measured on an idle one: 3 ms (README).
    """
    arrays = scripted_arrays(60)
    proposal = Proposal(status=ProposalStatus.OK, researcher="offline", hypothesis="busy")
    waits: list[float] = []

    async def git_work(keeper: KeeperClient) -> None:
        for number in range(1, 100):
            workspace = await keeper.open_workspace(f"I{number}", "I0")
            await keeper.commit_idea("C1", f"I{number}", proposal, workspace)

    async def calls() -> None:
        async with KeeperClient(lab.keeper_socket) as keeper:
            await keeper.start_campaign(CampaignSpec())
            busy = asyncio.create_task(git_work(keeper))
            for seed in range(15):
                record = scripted_record(seed)
                blob = pack(record, arrays)
                begin_s = time.perf_counter()
                await keeper.call("put_episode", blob=blob)
                waits.append(time.perf_counter() - begin_s)
                await asyncio.sleep(0.1)
            busy.cancel()
            await asyncio.gather(busy, return_exceptions=True)

    with running(KEEPER, lab.path):
        asyncio.run(calls())
    assert sorted(waits)[len(waits) // 2] < 0.050
