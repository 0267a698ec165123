"""Tricks with the problem itself: policies that act within their limits, and ends of episodes that look better than they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from data.pairs import Result
from data.statistics import rate
from environments import make, make_verifier
from environments.push_t import spec, verify
from environments.push_t.limits import LIMITS
from nightlab import geometry
from nightlab.contracts import EpisodeEvidence, Frame, Values
from nightlab.errors import SafetyError, StationError
from nightlab.records import (
    CampaignSpec,
    Clock,
    EpisodeRecord,
    Predicate,
    StationPlace,
    Verdict,
)
from nightlab.records import (
    Outcome as Scored,
)
from nightlab.testing.fake_station import FakeStation
from nightlab.testing.policy import Script, ScriptedPolicy
from policies.host import PolicyProcess
from robots.profiles import load_profile
from robots.safety import SafetyFilter, intersect
from robots.worlds import make_world
from robots.worlds.push_t import PushTWorld
from robots.worlds.push_t_camera import render_table
from tasks.trial import Trial
from tasks.trial_job import PolicyFiles, TrialJob
from tasks.trial_sink import MemorySink
from tests.cheating.attack import Outcome, Tried, attack, switched_off
from tests.cheating.house import House

Pose = Sequence[float]
START = {"agent_x_px": 60.0, "agent_y_px": 60.0, "block_x_px": 330.0, "block_y_px": 180.0, "block_angle_rad": 2.0}
SOLVED: Pose = geometry.GOAL_POSE


def world(profile: str = "nominal", station_seed: int = 0) -> PushTWorld:
    """A simulated table."""
    return cast(PushTWorld, make_world("push_t", load_profile(profile), station_seed))


def evidence(pose: Pose, *, shift_px: int = 0, picture: NDArray[np.uint8] | None = None) -> EpisodeEvidence:
    """Five frames of a T at `pose`, seen by a camera that was moved by `shift_px` to the right."""
    rgb = render_table((60.0, 60.0), pose) if picture is None else picture
    if shift_px:
        rgb = np.concatenate([rgb[:, shift_px:], np.full_like(rgb[:, :shift_px], 255)], axis=1)
    clock = Clock(wall_s=0.0, station_s=0.0)
    frames = [Frame("top", clock, seq, rgb) for seq in range(spec.HELD_FRAMES)]
    seen = {"agent_xy": np.array([60.0, 60.0]), "block_pose": np.array(pose)}
    return EpisodeEvidence("push_t", frames, [seen] * len(frames), start=START)


def judge(what: EpisodeEvidence) -> Verdict:
    """The frozen verifier's word."""
    return make_verifier("push_t").verify(what)


class TableTrial(Trial):
    """A trial at a table in this process, with a scripted policy: judging, counting and recording are the real ones."""

    def __init__(self, job: TrialJob, keeper: Any, script: Script, table: PushTWorld) -> None:
        super().__init__(job, keeper, cast(Any, _Judge()))
        self.on_episode = lambda _: None
        self.table = FakeStation(table)
        self.scripted = ScriptedPolicy(script)

    async def _connect(self) -> None:
        self.station = cast(Any, self.table)
        self.spec = await self.table.describe()
        self.rate_hz = self.spec.rate_hz
        self.lease = await self.table.lease("trial", self.environment.limits)
        self.admin = cast(Any, self.table)

    async def _disconnect(self) -> None:
        await self.lease.release()

    async def _policy(self, files: PolicyFiles) -> PolicyProcess:
        return cast(PolicyProcess, self.scripted)


class _Judge:
    """The verifier without its process."""

    async def verify(self, what: EpisodeEvidence, **_: object) -> Verdict:
        from environments.manifest import check

        return make_verifier("push_t", check("push_t")).verify(what)


def job(seeds: Sequence[int], **fields: Any) -> TrialJob:
    """A trial of the idea I1 on seeds."""
    files = PolicyFiles(idea="I1", code_dir="", checkpoint_dir="", sha256=fields.pop("sha256", ""))
    return TrialJob(
        campaign=CampaignSpec(campaign="C1"), iteration="I1", place=StationPlace(station="robot-1", address=""),
        keeper_socket="", verifier_socket="", candidate=files, seeds=tuple(seeds), film=False, **fields,
    )  # fmt: skip


@attack(
    "policy", "sweep the T across its goal and say done in that instant", outcome=Outcome.FAILURE,
    defence="success must hold in 5 frames after the end", control="a verifier that takes the first frame",
    says="not_held",
)  # fmt: skip
async def succeed_for_one_frame(house: House, defended: bool) -> Tried:
    table, environment = world("real", 1), make("push_t")  # its latency carries the T on after the end
    along = np.array([-math.sin(math.pi / 4), math.cos(math.pi / 4)])
    station = FakeStation(table)
    lease = await station.lease("test", environment.limits)
    await environment.reset(station, lease, 1, admin=station)
    block = np.array(SOLVED[:2]) - 40 * along
    start = dict(zip(START, (*(block - 16 * along), *block, math.pi / 4), strict=True))
    await station.teleport(start, 1)
    async with station.control(lease, "sweep") as session:
        near = False
        while not near:  # the luckiest of policies: it knows where the T is
            disc, there = (
                np.array([table.truth()[f"{part}_{axis}_px"] for axis in "xy"]) for part in ("agent", "block")
            )
            near = float((there - SOLVED[:2]) @ along) > -2
            await environment.step(session, {"target_xy": disc + along * (40 if near else 6)})
        what = await environment.evidence(station, session)
    if defended:
        verdict = judge(what)
    else:
        first = EpisodeEvidence(what.environment, what.frames[:1], what.observations[:1], start=what.start)
        with switched_off(spec, "HELD_FRAMES", 1):
            verdict = judge(first)
    return Tried(verdict.outcome is Scored.SUCCESS, verdict.reason)


@attack(
    "policy", "put the T out of sight on hard episodes, so that they count as the camera's fault",
    outcome=Outcome.FAILURE, defence="a T that cannot be seen is a failure", control="unseen is unscored", says="0.50 of 2",
)  # fmt: skip
async def hide_the_object(house: House, defended: bool) -> Tried:
    hidden = render_table((60.0, 60.0), SOLVED).copy()
    hidden[100:420, 100:420] = 255
    verdicts = [judge(evidence(SOLVED)), judge(evidence((300.0, 300.0, 1.0), picture=hidden))]
    if not defended:
        verdicts = [
            verdict.model_copy(update={"outcome": Scored.UNSCORED}) if verdict.reason == "hidden" else verdict
            for verdict in verdicts
        ]
    measured = rate(Result(outcome=v.outcome, score=v.score, steps=9, reason=v.reason) for v in verdicts)
    share = measured.successes / measured.n
    return Tried(share == 1.0, f"{share:.2f} of {measured.n}")


def _stale_by_place_alone(what: EpisodeEvidence, sights: Sequence[Any]) -> Predicate:
    """Push-T's check of a live camera as it was before it minded that a disc may be moving."""
    seen, told = sights[-1].agent_xy, np.asarray(what.observations[-1]["agent_xy"])
    return verify.at_most("camera_is_live", float(np.hypot(*(seen - told))), spec.AGENT_TOLERANCE_px, "px")


@attack(
    "policy", "race across the table at the end, so that old observations make the camera look stale",
    outcome=Outcome.FAILURE, defence="what the disc moved in the held frames is allowed for",
    control="picture and sensor compared by place alone", says="FAILURE",
)  # fmt: skip
async def race_the_camera(house: House, defended: bool) -> Tried:
    said = set()
    with switched_off(verify, "_stale_camera", _stale_by_place_alone, really=not defended):
        for seed in range(6):
            environment, station = make("push_t"), FakeStation(world("hard", seed))
            lease = await station.lease("test", environment.limits)
            await environment.reset(station, lease, seed, admin=station)
            async with station.control(lease, "race") as session:
                here = (await session.hold()).values["agent_xy"]
                corner = np.full(2, 500.0 if here.sum() < 512 else 12.0)
                for _ in range(4):
                    await environment.step(session, {"target_xy": corner})
                said.add(judge(await environment.evidence(station, session)).outcome)
    return Tried(Scored.UNSCORED in said, ", ".join(sorted(outcome.name for outcome in said)))


@attack(
    "policy", "fault on hard starts, so that they are drawn again until an easy one comes",
    outcome=Outcome.FAILURE, defence="a policy's fault is a failure of that seed, which is run once",
    control="a fault of the policy treated as one of the station", says="1 of 1 seeds counted, FAILURE",
)  # fmt: skip
async def reset_until_an_easy_start_comes(house: House, defended: bool) -> Tried:
    def give_up(seen: Values, given: int) -> list[dict[str, object]]:
        raise RuntimeError("too hard")

    class Lenient(TableTrial):
        async def _finish(self, raw: Any, files: PolicyFiles, before: Any) -> None:
            await self._station_fault(raw.key, raw.fault)

        async def _station_fault(self, key: Any, reason: str) -> None:
            self.unscored += 1

    sink = MemorySink()
    await (TableTrial if defended else Lenient)(job([17]), sink, give_up, world()).run()
    outcomes = [record.verdict.outcome.name for record, _ in sink.episodes]
    return Tried(not outcomes, f"{len(outcomes)} of 1 seeds counted, {', '.join(outcomes)}")


@attack(
    "policy", "crash the station on hard starts, so that they stay unscored", outcome=Outcome.IMPOSSIBLE,
    defence="three faults of the station on one seed end the trial", control="seeds that are skipped after a fault",
    says="failed 3 times on the same seed",
)  # fmt: skip
async def crash_the_station(house: House, defended: bool) -> Tried:
    def crash(seen: Values, given: int) -> list[dict[str, object]]:
        table.table.faults.dead = "the physics exploded"
        return [{"target_xy": seen["agent_xy"]}]

    class Skips(TableTrial):
        async def _episode(self, files: PolicyFiles, pool: Any, seed: int) -> None:
            try:
                await super()._episode(files, pool, seed)
            except StationError:
                self.table.faults.dead = ""

    class Reconnects(Skips if not defended else TableTrial):  # type: ignore[misc]
        async def _station_fault(self, key: Any, reason: str) -> None:
            self.unscored += 1
            self.table.faults.dead = ""

    table = Reconnects(job([17, 18]), MemorySink(), crash, world())
    try:
        done = await table.run()
    except StationError as error:
        return Tried(False, str(error))
    return Tried(done.stopped == "all seeds" and done.episodes == 0, done.stopped)


@attack(
    "policy", "leave the limits: a leap of 400 px in one control period", outcome=Outcome.IMPOSSIBLE,
    defence="the station's safety filter shortens steps", control="no filter", says="moved by 80 px",
)  # fmt: skip
async def leap_beyond_the_limits(house: House, defended: bool) -> Tried:
    station = world().spec("robot-1", 1.0)
    limits = intersect(station.limits, LIMITS, station.actions)
    guard = SafetyFilter(limits, station.actions, {"target_xy": np.array([60.0, 60.0])})
    action: Values = {"target_xy": np.array([460.0, 60.0])}
    guard.check([action])
    if defended:
        action, _ = guard.clamp(action)
    moved_px = float(action["target_xy"][0]) - 60.0
    return Tried(moved_px > 80, f"moved by {moved_px:.0f} px")


@attack(
    "policy", "aim outside the table", outcome=Outcome.FAILURE, defence="the station refuses the whole chunk and holds",
    control="no filter", says="is out of bounds: .* the robot held",
)  # fmt: skip
async def aim_outside_the_table(house: House, defended: bool) -> Tried:
    table = world()
    station = table.spec("robot-1", 1.0)
    guard = SafetyFilter(
        intersect(station.limits, LIMITS, station.actions), station.actions, {"target_xy": np.array([256.0, 400.0])}
    )
    action: Values = {"target_xy": np.array([256.0, 900.0])}
    try:
        if defended:
            guard.check([action])
    except SafetyError as error:
        return Tried(False, str(error))
    for _ in range(20):
        table.step(action)
    return Tried(float(table.observe()["agent_xy"][1]) > 505, "")


@attack(
    "whoever holds the lease", "ask for wider limits than the station's", outcome=Outcome.IMPOSSIBLE,
    defence="limits are intersected: whoever asks may narrow them only", control="the limits that were asked for",
    says="high 512, step 80",
)  # fmt: skip
async def widen_the_limits(house: House, defended: bool) -> Tried:
    station = world().spec("robot-1", 1.0)
    wide = LIMITS.model_copy(
        update={"action_high": {"target_xy": (9000.0, 9000.0)}, "max_step": {"target_xy": (9000.0, 9000.0)}}
    )
    granted = intersect(station.limits, wide, station.actions) if defended else wide
    high, step = granted.action_high["target_xy"][0], granted.max_step["target_xy"][0]
    return Tried(high > 512 or step > 80, f"high {high:.0f}, step {step:.0f}")


@attack(
    "whoever reaches the cell", "move the camera, so that a T beside its goal seems to lie on it",
    outcome=Outcome.UNSCORED, defence="the table's walls must appear in their place", control="no look at the walls",
    says="camera_moved",
)  # fmt: skip
async def move_the_camera(house: House, defended: bool) -> Tried:
    beside = (SOLVED[0] + 5.0, *SOLVED[1:])
    with switched_off(verify, "is_displaced", lambda _: False, really=not defended):
        verdict = judge(evidence(beside, shift_px=5))
    return Tried(verdict.outcome is Scored.SUCCESS, verdict.reason)


@attack(
    "whoever reaches the cell", "show the verifier the picture of an earlier success", outcome=Outcome.UNSCORED,
    defence="frames are numbered by the station and must be new", control="frames without numbers", says="camera_frozen",
)  # fmt: skip
async def show_an_old_picture(house: House, defended: bool) -> Tried:
    what = evidence(SOLVED)
    frames = [Frame(frame.camera, frame.clock, 7, frame.rgb) for frame in what.frames]
    old = EpisodeEvidence(what.environment, frames, what.observations, start=what.start)
    with switched_off(verify, "_advancing", len, really=not defended):
        verdict = judge(old)
    return Tried(verdict.outcome is Scored.SUCCESS, verdict.reason)


@attack(
    "policy", "fool the camera alone: a T on the goal in the picture, elsewhere by its sensor", outcome=Outcome.FAILURE,
    defence="camera and pose sensor must agree", control="the camera's word alone", says="sensors_disagree",
)  # fmt: skip
async def fool_the_camera(house: House, defended: bool) -> Tried:
    what = evidence(SOLVED)
    elsewhere = {"agent_xy": np.array([60.0, 60.0]), "block_pose": np.array([330.0, 180.0, 2.0])}
    told = EpisodeEvidence(what.environment, what.frames, [elsewhere] * len(what.frames), start=START)
    with switched_off(spec, "SENSOR_TOLERANCE_px", 1e9, really=not defended):
        verdict = judge(told)
    return Tried(verdict.outcome is Scored.SUCCESS, verdict.reason)


__all__ = ["EpisodeRecord", "TableTrial", "job", "world"]
