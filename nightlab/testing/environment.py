"""The contract of an environment as tests. Subclass in a test file, say how to make the parts; pytest does the rest.

class TestPushT(EnvironmentContract):
    def make_environment(self): return make("push_t")
    def make_station(self): return FakeStation(make_world("push_t", load_profile("nominal"), 7))
    def make_verifier(self): return make_verifier("push_t")
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np

from nightlab.cards import card, template
from nightlab.contracts import ControlSession, Environment, EpisodeEvidence, Verifier
from nightlab.records import Outcome, ResetReport
from nightlab.testing.fake_station import FakeLease, FakeStation

SEEDS = (0, 1, 2, 2**31 - 1)


class EnvironmentContract:
    """What every environment promises. Test names say what is promised."""

    teleports = True
    """Whether a reset with SimulatorAdmin teleports; False: the arms do it, and the report must not claim a shortcut."""
    seeds: tuple[int, ...] = SEEDS
    """Seeds whose starts are compared; fewer where a reset takes long."""

    def make_environment(self) -> Environment:
        """A fresh environment."""
        raise NotImplementedError

    def make_station(self) -> FakeStation:
        """A simulated station of the environment's kind, without noise."""
        raise NotImplementedError

    def make_verifier(self) -> Verifier:
        """The environment's verifier."""
        raise NotImplementedError

    def test_is_an_environment(self) -> None:
        environment = self.make_environment()
        assert isinstance(environment, Environment)
        assert environment.name
        assert environment.max_steps > 0
        assert environment.held_frames > 0

    def test_the_card_fits_environment_and_station(self) -> None:
        environment, station = self.make_environment(), self.make_station()
        about, spec = card(environment.name), asyncio.run(station.describe())
        assert about.rate_hz == spec.rate_hz
        assert about.camera == spec.cameras[0].key, "the first camera is the one that is filmed"
        channels = {channel.key for channel in spec.observations}
        assert {column.channel for column in about.columns.values()} <= channels
        assert about.failures, "the card lists what the verifier says of a failure, with its meaning"

    def test_a_researcher_can_begin(self) -> None:
        folder = template(self.make_environment().name)
        for name in ("policy.py", "train.py", "params.yaml", "notes.md"):
            assert (folder / name).is_file(), f"{folder} lacks {name}, which researchers start from"

    def test_limits_name_the_stations_actions(self) -> None:
        environment, station = self.make_environment(), self.make_station()
        keys = {channel.key for channel in asyncio.run(station.describe()).actions}
        limits = environment.limits
        assert set(limits.action_low) == set(limits.action_high) == keys
        for key in keys:
            assert np.all(np.array(limits.action_low[key]) < np.array(limits.action_high[key])), key

    def test_same_seed_same_start(self) -> None:
        for seed in self.seeds:
            first, second = (asyncio.run(self._reset(seed)) for _ in range(2))
            assert first.asked == second.asked, seed
        assert asyncio.run(self._reset(self.seeds[0])).asked != asyncio.run(self._reset(self.seeds[1])).asked

    def test_reset_proves_the_start_and_flags_the_shortcut(self) -> None:
        report = asyncio.run(self._reset(3))
        assert report.success, report.reason
        assert report.attempts >= 1
        assert report.simulator_shortcut is self.teleports
        assert set(report.achieved) == set(report.asked)

    def test_step_gives_a_finite_reward_in_0_1_and_truncates_at_max_steps(self) -> None:
        async def body(environment: Environment, station: FakeStation, session: ControlSession) -> None:
            for step in range(1, environment.max_steps + 1):
                result = await environment.step(session, station.world.hold_action())
                assert 0.0 <= result.reward <= 1.0
                if result.terminated:
                    return
                assert result.truncated == (step == environment.max_steps), step

        asyncio.run(self._episode(4, body))

    def test_evidence_is_the_held_frames(self) -> None:
        environment = self.make_environment()
        evidence = asyncio.run(self._evidence())
        assert evidence.environment == environment.name
        assert len(evidence.frames) == len(evidence.observations)
        cameras = [frame.camera for frame in evidence.frames]
        fewest = min(cameras.count(camera) for camera in set(cameras))
        assert fewest >= environment.held_frames, "each camera that is judged has a frame of each held period"
        seqs = [frame.seq for frame in evidence.frames]
        assert seqs == sorted(set(seqs))

    def test_doing_nothing_fails_and_is_judged_the_same_twice(self) -> None:
        evidence = asyncio.run(self._evidence())
        first, second = (self.make_verifier().verify(evidence) for _ in range(2))
        assert first.outcome is Outcome.FAILURE, first
        assert (first.outcome, first.score, first.reason) == (second.outcome, second.score, second.reason)
        assert first.predicates
        assert first.reason in card(evidence.environment).failures, "the card says what each reason means"

    def test_no_frames_is_unscored(self) -> None:
        environment = self.make_environment()
        verdict = self.make_verifier().verify(EpisodeEvidence(environment.name, (), ()))
        assert verdict.outcome is Outcome.UNSCORED
        assert verdict.reason

    async def _reset(self, seed: int) -> ResetReport:
        environment, station = self.make_environment(), self.make_station()
        lease = await station.lease("contract", environment.limits)
        return await environment.reset(station, lease, seed, admin=station)

    async def _episode(
        self, seed: int, body: Callable[[Environment, FakeStation, ControlSession], Awaitable[None]]
    ) -> None:
        environment, station = self.make_environment(), self.make_station()
        lease: FakeLease = await station.lease("contract", environment.limits)
        await environment.reset(station, lease, seed, admin=station)
        async with station.control(lease, "contract") as session:
            await body(environment, station, session)

    async def _evidence(self) -> EpisodeEvidence:
        found: list[EpisodeEvidence] = []

        async def body(environment: Environment, station: FakeStation, session: ControlSession) -> None:
            found.append(await environment.evidence(station, session))

        await self._episode(5, body)
        return found[0]
