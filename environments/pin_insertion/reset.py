"""Reset as a policy: the arms bring the pin back and to a new start; no teleport. Verified by the cameras before READY.

One attempt: get the pin into the right hand wherever it is (extract it from the hole, take it back from the left hand,
pick it up), hand it over to the left hand and back if it does not sit straight, park the left arm, begin the episode,
carry the tip to the start, look. Up to 3 attempts; then the station wants a person, and the caller parks it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from environments.pin_insertion import spec
from environments.pin_insertion.heading import heading_of
from environments.pin_insertion.locate import locate
from environments.pin_insertion.ready import ready
from environments.pin_insertion.recover import (
    Counts,
    has_pin,
    out_of_sight,
    pin_in_hand,
    pin_in_left,
    pin_lying,
    pin_standing,
)
from environments.pin_insertion.start import sample_start, start_distance
from nightlab.contracts import ControlSession, Frame, Lease, SimulatorAdmin, Station, Values
from nightlab.errors import SkillError, StationError
from nightlab.records import ResetReport
from nightlab.skills.motion import Hands, holds
from nightlab.skills.pin import carry, look, pin_of, yaw_of
from nightlab.skills.run import perform
from nightlab.skills.steady import steady

Array = NDArray[np.float64]

LOOK_TICKS = 10
UNKNOWN_m = 1.0
"""Distance of a reset that never came to measure any."""
PICTURE_PX = (320, 240)


@dataclass(slots=True)
class ResetDone:
    """What a reset came to."""

    report: ResetReport
    jpeg: list[bytes]
    """Pictures in the order of `report.frames`."""
    kept: dict[str, Array] = field(default_factory=dict)
    """The targets that stay as they are during the episode, with the right arm's at its start."""


class Resetter:
    """One reset of one station. `admin` only tells a simulated station that an episode begins; nothing moves by it."""

    def __init__(self, station: Station, lease: Lease, admin: SimulatorAdmin | None) -> None:
        self._station, self._lease, self._admin = station, lease, admin
        self._counts = Counts()
        self._jpeg: list[bytes] = []
        self._labels: list[str] = []
        self._hands: Hands | None = None
        self._before: list[Frame] = []
        """What the cameras saw before anything moved; looked at once."""

    async def run(self, seed: int) -> ResetDone:
        """Reset to the start of `seed`; never raises for a start that was missed.

        Raises StationError for a fault of the station itself.
        """
        asked = sample_start(seed)
        self._before = await self._shoot()
        self._keep_pictures("before", self._before)
        begin_s = (await self._station.observe()).clock.station_s
        achieved: dict[str, float] = {}
        reason, attempts, success = "", 0, False
        while attempts < spec.RESET_ATTEMPTS and not success:
            attempts += 1
            try:
                await self._attempt(asked, seed)
            except SkillError as error:
                reason = str(error)
                continue
            achieved, reason = await self._measure(asked)
            success = not reason
        end_s = (await self._station.observe()).clock.station_s
        report = ResetReport(
            success=success,
            attempts=attempts,
            duration_s=end_s - begin_s,
            asked=asked,
            achieved=achieved,
            distance=start_distance(asked, achieved) if achieved else UNKNOWN_m,
            reason=reason,
            frames=tuple(self._labels),
            counts=self._counts.as_dict(),
        )
        return ResetDone(report, self._jpeg, self._kept())

    async def _attempt(self, asked: dict[str, float], seed: int) -> None:
        async with steady(self._station, self._lease, "reset") as session:
            await self._fetch(session)
        if self._admin is not None:
            await self._admin.teleport({"hole": asked["hole"]}, seed)
        async with steady(self._station, self._lease, "reset") as session:
            hands = await _begin(session)
            if self._admin is None:  # a real station has a target of its own
                asked["hole"] = float(hands.seen["target_hole"][0])
            mouth = np.array(hands.seen["hole_estimate"], dtype=np.float64)
            tip = mouth + np.array([asked["tip_x_m"], asked["tip_y_m"], asked["tip_z_m"]])
            await perform(session, carry(hands, "right", tip, asked["yaw_rad"]), hands)
            self._hands = hands

    async def _fetch(self, session: ControlSession) -> None:
        """The pin, wherever it is, into the right hand."""
        hands = await _begin(session)
        await perform(session, look(hands), hands)
        if has_pin(hands, "right", pin_of(hands.seen)):
            await perform(session, pin_in_hand(hands, self._counts), hands)
            return
        if holds(hands.seen, "left"):
            await perform(session, pin_in_left(hands, self._counts), hands)
            return
        frames, self._before = self._before, []
        found = locate(frames, hands.seen) if frames else None
        if found is None or found.lies:  # the arm stood in the way, or stands where it must come down
            await perform(session, out_of_sight(hands), hands)
            seen, frames = await session.hold(), await self._shoot()
            found = locate(frames, seen.values)
        if found is None:
            raise SkillError("no hand holds the pin and no camera sees it")
        if found.lies:
            heading_rad = heading_of(frames, found)
            await perform(session, pin_lying(hands, found.head, heading_rad, self._counts), hands)
            return
        await perform(session, pin_standing(hands, found.pose, self._counts), hands)

    async def _measure(self, asked: dict[str, float]) -> tuple[dict[str, float], str]:
        """The achieved start by the sensors, and why it does not count; empty: the cameras agree that it does."""
        async with steady(self._station, self._lease, "reset") as session:
            hands = await _begin(session)
            await perform(session, look(hands, LOOK_TICKS), hands)
            await session.hold()
            frames = await self._shoot()
        achieved = start_of(hands.seen)
        self._keep_pictures("after", frames)
        distance_m = start_distance(asked, achieved)
        if distance_m > spec.START_TOLERANCE_m:
            return (
                achieved,
                f"start missed by {1000 * distance_m:.1f} mm; allowed are {1000 * spec.START_TOLERANCE_m:g} mm",
            )
        if not holds(hands.seen, "right"):
            return achieved, "the right gripper holds nothing"
        seen = ready(frames, achieved)
        return achieved, "" if seen.ready else f"the cameras do not see the pin at its start: {seen.reason}"

    async def _shoot(self) -> list[Frame]:
        return [await self._station.capture(camera) for camera in spec.CAMERAS]

    def _keep_pictures(self, when: str, frames: list[Frame]) -> None:
        """Keep small pictures; those of a later attempt replace those of an earlier one."""
        for frame in frames:
            label = f"{when} {frame.camera}"
            small = cv2.resize(frame.rgb, PICTURE_PX, interpolation=cv2.INTER_AREA)
            done, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
            if not done:
                raise StationError(f"camera {frame.camera} gave a picture that cannot be kept: shape {frame.rgb.shape}")
            if label in self._labels:
                self._jpeg[self._labels.index(label)] = bytes(data)
            else:
                self._labels.append(label)
                self._jpeg.append(bytes(data))

    def _kept(self) -> dict[str, Array]:
        return self._hands.action() if self._hands is not None else {}


async def _begin(session: ControlSession) -> Hands:
    seen = await session.hold()
    return Hands.of(seen.values, seen.executed)


def start_of(values: Values) -> dict[str, float]:
    """The start that a station is at, by its sensors: keys and units of `start.START_KEYS`."""
    pin, mouth = pin_of(values), values["hole_estimate"]
    x, y, z = (float(v) for v in pin[:3] - mouth)
    return {
        "hole": float(values["target_hole"][0]),
        "tip_x_m": x,
        "tip_y_m": y,
        "tip_z_m": z,
        "yaw_rad": yaw_of(np.asarray(values["right_tcp"][3:], dtype=np.float64)),
    }
