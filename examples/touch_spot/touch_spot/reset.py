"""Bring a station to a start, and prove by its sensors that it is there."""

import math

from nightlab.contracts import Lease, SimulatorAdmin, Station
from nightlab.errors import StationError
from nightlab.records import ResetReport
from touch_spot.spec import RESET_ATTEMPTS, START_TOLERANCE_px
from touch_spot.start import START_KEYS, sample_start


async def reset_station(station: Station, lease: Lease, seed: int, admin: SimulatorAdmin | None) -> ResetReport:
    """Reset to the start of `seed`, in up to 3 attempts. Raises StationError without a SimulatorAdmin."""
    if admin is None:
        raise StationError("touch_spot has no routine for a real plate yet; use a simulated station")
    asked = sample_start(seed)
    begin_s = (await station.observe()).clock.station_s
    achieved, distance_px, attempts, end_s = dict(asked), math.inf, 0, begin_s
    while attempts < RESET_ATTEMPTS and distance_px > START_TOLERANCE_px:
        attempts += 1
        await admin.teleport(asked, seed)
        seen = await station.observe()
        finger = seen.values["finger_xy"]
        achieved = {**asked, "finger_x_px": float(finger[0]), "finger_y_px": float(finger[1])}
        distance_px = math.dist(*([start[key] for key in START_KEYS] for start in (asked, achieved)))
        end_s = seen.clock.station_s
    good = distance_px <= START_TOLERANCE_px
    return ResetReport(
        success=good,
        attempts=attempts,
        duration_s=end_s - begin_s,
        asked=asked,
        achieved=achieved,
        distance=distance_px,
        simulator_shortcut=True,
        reason="" if good else f"the finger is {distance_px:.1f} px from its start; see the station's log",
    )
