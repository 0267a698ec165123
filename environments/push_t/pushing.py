"""The reset of a station that cannot teleport: the disc goes around the T and pushes it near the start that was asked.

Only the T's place is brought about, not its angle: pushes go through the T's middle, and it turns as it likes. An angle
costs many careful pushes; for the next episode a start that is known exactly is worth as much as one that was asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from environments.push_t.spec import PUSHES, NEAR_START_px, PUSH_STEP_px
from nightlab.contracts import ControlSession, Observation
from nightlab.geometry import (
    AGENT_RADIUS_PX,
    T_CENTROID_LOCAL,
    TABLE_PX,
    Point,
    agent_overlaps_t,
    distance_to_t,
    t_touches_wall,
    to_world,
)

EDGE_px = 25.0
"""The disc stays this far inside the table."""
GAP_px = 8.0
"""Between disc and T on the way."""
AROUND_px = 108.0
"""Radius of the way around the T's middle: its farthest corner (81 px), the disc and the gap."""
LONGEST_px = 150.0
"""Longest push; then it looks again."""
TURNS_rad = (0.0, 0.7, -0.7, 1.4, -1.4, 2.1, -2.1)
"""Other directions to push in, where the wall leaves no room behind the T."""
AT_px = 8.0
"""The disc is there."""
PATIENCE_periods = 25
"""Longest wait for the disc at a place, beyond the time that its target takes there."""


async def push_near(session: ControlSession, asked: Sequence[float], goal_xy: Point) -> None:
    """Push the T until its middle is near that of the pose `asked` (px, px, rad), then go to `goal_xy` (px, px).

    At most `PUSHES` pushes; whether it is near is for the caller to see.
    """
    hand = _Hand(session, await session.hold())
    wanted = middle_of(asked)
    for _ in range(PUSHES):
        middle = middle_of(hand.pose)
        towards, longest_px = wanted, LONGEST_px
        if math.dist(middle, wanted) <= NEAR_START_px / 2:
            if not t_touches_wall(hand.pose):
                break
            towards, longest_px = (TABLE_PX / 2, TABLE_PX / 2), NEAR_START_px / 2
        for turn_rad in TURNS_rad:
            angle_rad = math.atan2(towards[1] - middle[1], towards[0] - middle[0]) + turn_rad
            behind = _behind(middle, angle_rad, hand.pose)
            if _inside(behind):
                length_px = min(math.dist(middle, towards), longest_px) * (1.0 if turn_rad == 0.0 else 0.5)
                await hand.go(*_around(hand.xy, behind, middle))
                await hand.go(_ahead(behind, angle_rad, length_px + GAP_px))
                await hand.go(_ahead(hand.xy, angle_rad + math.pi, GAP_px))
                break
        else:
            return
    if not agent_overlaps_t(goal_xy, hand.pose, GAP_px):
        await hand.go(*_around(hand.xy, goal_xy, middle_of(hand.pose)))


def middle_of(pose: Sequence[float]) -> Point:
    """Centroid of the T at a pose (px, px, rad), in px."""
    x, y = to_world(np.array([T_CENTROID_LOCAL]), pose)[0]
    return float(x), float(y)


class _Hand:
    """The disc, driven from place to place, at most PUSH_STEP_px a control period."""

    def __init__(self, session: ControlSession, seen: Observation) -> None:
        self._session, self._seen = session, seen
        self._target = self.xy

    @property
    def xy(self) -> Point:
        x, y = self._seen.values["agent_xy"]
        return float(x), float(y)

    @property
    def pose(self) -> list[float]:
        return [float(value) for value in self._seen.values["block_pose"]]

    async def go(self, *places: Point) -> None:
        """To one place after the other; a place that it does not reach (the T against a wall) is left out."""
        for place in places:
            goal = min(max(place[0], EDGE_px), TABLE_PX - EDGE_px), min(max(place[1], EDGE_px), TABLE_PX - EDGE_px)
            self._target = self.xy
            periods = PATIENCE_periods + int(math.dist(self._target, goal) / PUSH_STEP_px)
            while periods > 0 and (self._target != goal or math.dist(self.xy, goal) > AT_px):
                left_px = math.dist(self._target, goal)
                share = min(1.0, PUSH_STEP_px / left_px) if left_px else 1.0
                x, y = ((1 - share) * a + share * b for a, b in zip(self._target, goal, strict=True))
                self._target = goal if share == 1.0 else (x, y)
                (self._seen,) = await self._session.step([{"target_xy": np.array(self._target)}])
                periods -= 1


def _behind(middle: Point, angle_rad: float, pose: Sequence[float]) -> Point:
    """Where the disc stands to push through the middle in a direction, clear of the T."""
    back_px = 0.0
    while distance_to_t(place := _ahead(middle, angle_rad + math.pi, back_px), pose) < AGENT_RADIUS_PX + GAP_px:
        back_px += 4.0
    return place


def _around(start: Point, end: Point, middle: Point) -> list[Point]:
    """Places from start to end outside the circle around the T; straight, where the line does not cross it."""
    if _clearance(start, end, middle) >= AROUND_px - 1.0:
        return [end]
    begin_rad, end_rad = (math.atan2(p[1] - middle[1], p[0] - middle[0]) for p in (start, end))
    short_rad = math.remainder(end_rad - begin_rad, 2 * math.pi)
    ways = []
    for sweep_rad in (short_rad, short_rad - math.copysign(2 * math.pi, short_rad)):
        n = 1 + int(abs(sweep_rad) / 0.35)
        way = [_ahead(middle, begin_rad + sweep_rad * k / n, AROUND_px) for k in range(n + 1)]
        ways.append((sum(not _inside(place) for place in way), abs(sweep_rad), way))
    return [*min(ways)[2], end]


def _clearance(start: Point, end: Point, middle: Point) -> float:
    """Smallest distance of the middle from the line between two places, px."""
    along = np.subtract(end, start)
    share = float(np.clip(np.dot(np.subtract(middle, start), along) / max(float(along @ along), 1e-9), 0.0, 1.0))
    return math.dist(middle, np.asarray(start) + share * along)


def _ahead(place: Point, angle_rad: float, length_px: float) -> Point:
    return place[0] + length_px * math.cos(angle_rad), place[1] + length_px * math.sin(angle_rad)


def _inside(place: Point) -> bool:
    return all(EDGE_px <= value <= TABLE_PX - EDGE_px for value in place)
