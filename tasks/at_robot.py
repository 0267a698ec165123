"""A trial and its robot: which one it gets, lease and connection, faults, e-stops, parking, and giving it back."""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path

from data.estops import estop_events
from environments import make
from nightlab.errors import EstopError, NightlabError, ResetError, StationError
from nightlab.records import EpisodeKey, Event
from robots.admin import AdminClient
from robots.client import StationClient
from tasks.episode import ResetFailed
from tasks.heart import relabel
from tasks.trial_job import TrialJob
from tasks.trial_sink import TrialSink

STATION_WAIT_S = 45.0
"""How long a trial waits for a station server that went away (the supervisor restarts it within seconds)."""
_UNPARK = "Look at the cell and bring it in order, then: nightlab unpark {}"
"""What the person who is paged has to do."""


class TrialStopped(Exception):
    """The campaign is over, or the held-out draw can no longer pass; the episodes so far stand."""


class AtRobot:
    """What a trial does about its robot; the base of `tasks.trial.Trial`."""

    def __init__(self, job: TrialJob, keeper: TrialSink) -> None:
        self.job = job
        self.keeper = keeper
        self.environment = make(job.campaign.environment)
        self.place = job.place
        """Where it runs."""
        self.rate_hz = 0.0
        self.unscored = 0
        self._avoided: set[str] = set()
        """Stations that did not answer."""
        self._at_work = False
        self._followed = bool(job.ledger) and ".r" not in job.iteration
        """Whether the campaign may tell it to stop."""

    async def _take(self) -> None:
        """Wait until a robot is free, and take its lease.

        Raises:
            TrialStopped: nobody wants this trial any more.
        """
        while not self._at_work:
            if self.job.places:
                names = {place.station: place for place in self.job.places if place.station not in self._avoided}
                station, stop = await self.keeper.await_station(*self._name, list(names))
                if stop:
                    raise TrialStopped(stop)
                self.place = names[station]
                relabel(f"trial-{station}")
            try:
                await self._connect()
            except EstopError:
                await self._stopped()
                raise
            except StationError:
                self._avoided.add(self.place.station)
                if len(self._avoided) >= len(self.job.places):
                    raise
                await self._give_back()
            else:
                self._at_work = True

    async def _give_back(self) -> None:
        """Let the next trial have the robot; it queues for the lease while this one still cleans up."""
        if self.job.places:
            await self.keeper.leave_station(*self._name)
            relabel("trial-waiting")
        if self._at_work:
            self._at_work = False
            await self._disconnect()

    @property
    def _name(self) -> tuple[str, str]:
        return self.job.campaign.campaign, self.job.iteration

    async def _connect(self) -> None:
        """Connect, take the lease, and sample the held-out station if one is asked for."""
        place = self.place
        self.station = await StationClient.connect(place.address, keys=place.keys)
        self.spec = await self.station.describe()
        self.rate_hz = self.spec.rate_hz
        self.lease = await self.station.lease(self.job.iteration, self.environment.limits)
        self.admin = await AdminClient.connect(Path(place.admin_socket)) if place.admin_socket else None
        if self.admin is not None and self.job.station_seed is not None:
            await self.admin.configure(self.job.campaign.profile, self.job.station_seed)

    async def _disconnect(self) -> None:
        """Give the lease back and restore the station; a station that is gone needs neither."""
        try:
            if self.admin is not None:
                if self.job.station_seed is not None:
                    await self.admin.configure(self.job.campaign.profile, self.place.station_seed)
                await self.admin.close()
            await self.lease.release()
            await self.station.close()
        except (TimeoutError, NightlabError, OSError):
            pass

    async def _ask(self) -> None:
        """Before an episode: is it still wanted, and may it begin here?

        Raises:
            TrialStopped: the campaign has no more use for this trial.
            ResetError: the station is parked.
        """
        while True:
            station = self.place.station
            answer = await self.keeper.next_episode(*self._name, station)
            if answer["stop"]:
                raise TrialStopped(answer["stop"])
            if answer["parked"]:
                raise ResetError(f"{station} is parked: {answer['parked']}. {_UNPARK.format(station)}")
            if not answer["give_way"]:
                return
            await self._give_back()
            await self._take()

    async def _park(self, key: EpisodeKey, error: ResetFailed) -> None:
        """Take the station out of the campaign until a person has looked at it; the others go on."""
        self.unscored += 1
        pictures = [base64.b64encode(jpeg).decode() for jpeg in error.pictures]
        await self.keeper.append(
            Event(
                event_id=f"station_parked:{key.text()}:{time.time_ns()}",
                kind="station_parked",
                campaign=key.campaign,
                iteration=key.iteration,
                station=key.station,
                wall_s=time.time(),
                data={
                    "reason": str(error)[:500],
                    "fix": _UNPARK.format(key.station),
                    "reset": error.report.model_dump(mode="json"),
                    "pictures_jpeg_base64": pictures,
                },
            )
        )

    async def _stopped(self) -> None:
        """The e-stop is latched: the station waits for a person, this work for the station; the others go on.

        Raises:
            ResetError: always, unless the e-stop has been cleared meanwhile.
        """
        place = self.place
        client = await StationClient.connect(place.address, keys=place.keys)
        try:
            stats = await client.stats()
        finally:
            await client.close()
        if not stats.estop:
            return
        campaign = self.job.campaign.campaign
        for event in estop_events(place.station, campaign, stats.estop, stats.estop_s, self.job.iteration):
            await self.keeper.append(event)
        raise ResetError(
            f"{place.station} is stopped (e-stop: {stats.estop}). Look at the cell, then: "
            f"nightlab estop {place.station} --clear"
        )

    async def _station_fault(self, key: EpisodeKey, reason: str) -> None:
        """Write the fault down as an event, and wait for the station to come back."""
        self.unscored += 1
        await self.keeper.append(
            Event(
                event_id=f"station_fault:{key.text()}:{time.time_ns()}",
                kind="station_fault",
                campaign=key.campaign,
                iteration=key.iteration,
                station=key.station,
                wall_s=time.time(),
                data={"reason": reason, "seed_attempt": key.attempt},
            )
        )
        await self._disconnect()
        deadline = time.monotonic() + STATION_WAIT_S
        while True:
            try:
                await self._connect()
                return
            except StationError as error:
                if isinstance(error, EstopError):
                    await self._stopped()
                if time.monotonic() > deadline:
                    self._avoided.add(self.place.station)
                    differ = self.job.campaign.stations_differ  # a pair must not span two stations then
                    if differ or len(self._avoided) >= len(self.job.places):
                        raise
                    self._at_work = False
                    await self._give_back()
                    await self._take()
                    return
                await asyncio.sleep(0.5)
