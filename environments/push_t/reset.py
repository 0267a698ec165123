"""Bring a station to a start and prove by its sensors that it is there.

In simulation the SimulatorAdmin teleports (`simulator_shortcut`). A real station pushes the T near the start that was
asked (`environments.push_t.pushing`) and takes the angle as it comes: the report says where it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from environments.push_t.pushing import middle_of, push_near
from environments.push_t.spec import CAMERA, RESET_ATTEMPTS, NEAR_START_px, START_TOLERANCE_px
from environments.push_t.start import START_KEYS, broken_rule, sample_start
from environments.push_t.vision import look
from nightlab.contracts import Lease, SimulatorAdmin, Station
from nightlab.errors import StationError
from nightlab.geometry import keypoint_error
from nightlab.records import ResetReport


async def reset_station(station: Station, lease: Lease, seed: int, admin: SimulatorAdmin | None) -> ResetReport:
    """Reset to the start of `seed`, in up to 3 attempts; never raises for a start that was missed.

    Raises StationError if a teleport is asked of a station that is not simulated.
    """
    asked, rejected = sample_start(seed)
    if admin is not None and not (spec := await station.describe()).simulated:
        raise StationError(f"teleport asked of station {spec.station_id!r}, which is real; call reset without `admin`")
    begin_s = (await station.observe()).clock.station_s
    achieved: dict[str, float] = {}
    attempts, end_s, missed = 0, begin_s, "not tried"
    while attempts < RESET_ATTEMPTS and missed:
        attempts += 1
        if admin is not None:
            await admin.teleport(asked, seed)
        else:
            async with station.control(lease, "reset") as session:
                pose = [asked[key] for key in START_KEYS[2:]]
                await push_near(session, pose, (asked["agent_x_px"], asked["agent_y_px"]))
        achieved, end_s = await measure(station, asked)
        missed = _missed_teleport(asked, achieved) if admin is not None else _missed_place(asked, achieved)
    return ResetReport(
        success=not missed,
        attempts=attempts,
        duration_s=end_s - begin_s,
        rejected_starts=rejected,
        asked=asked,
        achieved=achieved,
        distance=start_distance(asked, achieved),
        simulator_shortcut=admin is not None,
        reason=missed,
    )


async def measure(station: Station, asked: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """Where disc and T are, and the station's clock: by the pose sensor, and by the camera where that is too noisy."""
    seen = await station.observe()
    pose = np.asarray(seen.values["block_pose"], dtype=np.float64)
    found = _start(np.asarray(seen.values["agent_xy"]), pose)
    if start_distance(asked, found) > START_TOLERANCE_px:
        frame = await station.capture(CAMERA)
        fit = look(frame.rgb).block
        if fit is not None:
            found = _start(np.asarray(seen.values["agent_xy"]), fit.pose)
        return found, frame.clock.station_s
    return found, seen.clock.station_s


def start_distance(asked: Mapping[str, float], achieved: Mapping[str, float]) -> float:
    """The larger of: distance of the discs; mean distance of the T's corners. In px."""
    a, b = ([start[key] for key in START_KEYS] for start in (asked, achieved))
    return max(math.hypot(a[0] - b[0], a[1] - b[1]), keypoint_error(a[2:], b[2:]))


def _start(agent: NDArray[np.float64], pose: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(START_KEYS, (float(v) for v in (*agent, *pose)), strict=True))


def _missed_teleport(asked: Mapping[str, float], achieved: Mapping[str, float]) -> str:
    distance_px = start_distance(asked, achieved)
    if distance_px <= START_TOLERANCE_px:
        return ""
    missed = f"start missed by {distance_px:.1f} px, {START_TOLERANCE_px:g} px allowed"
    return f"{missed}; the simulator did not obey, see the station's log"


def _missed_place(asked: Mapping[str, float], achieved: Mapping[str, float]) -> str:
    """What is wrong with a start that was brought about by pushing; empty if nothing is."""
    agent, pose, wanted = (
        [start[key] for key in keys]
        for start, keys in ((achieved, START_KEYS[:2]), (achieved, START_KEYS[2:]), (asked, START_KEYS[2:]))
    )
    x, y = middle_of(wanted)
    away_px = math.dist(middle_of(pose), (x, y))
    missed = f"the T is {away_px:.0f} px from where it was asked, {NEAR_START_px:g} px allowed"
    missed = missed if away_px > NEAR_START_px else broken_rule(agent, pose) or ""
    return missed and f"{missed}; place the T's middle at ({x:.0f}, {y:.0f}) px and reset again"
