"""What the Push-T modules share: the view of the table, pushes, contact points, and the seven slots' interfaces."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from nightlab import geometry as g

Array = NDArray[np.float64]
Params = Mapping[str, float]
Point = tuple[float, float]
Pose = tuple[float, float, float]

GAP_PX: Final = 12.0
"""Distance between the pusher's rim and the T at the point where a push starts."""
REACH_LOW_PX: Final = 3.0
REACH_HIGH_PX: Final = 509.0

_CORNERS = g.T_OUTLINE_LOCAL
_MEAN: Final = _CORNERS.mean(axis=0)
_RADIUS2: Final = float(((_CORNERS - _MEAN) ** 2).sum(axis=1).mean())


@dataclass(frozen=True, slots=True)
class View:
    """What the policy believes at this tick: positions in px, angle in rad."""

    agent: Point
    pose: Pose
    frames: int = 1
    """Number of observations that the pose rests on."""


@dataclass(frozen=True, slots=True)
class Push:
    """A straight stroke of the pusher's centre: from `start` (clear of the T) to `end`."""

    start: Point
    end: Point
    gain_px: float = 0.0
    """Predicted fall of the pose error."""
    error_px: float = 0.0
    """Predicted pose error after the push."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How finely pushes are searched."""

    spacing_px: float = 30.0
    stroke_step_px: float = 12.0
    stroke_max_px: float = 120.0
    push_step_px: float = 16.0
    """Largest advance of the target per control period while pushing."""


@dataclass(slots=True)
class Memory:
    """What the pipeline remembers between plans, for `recover`."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    plans: int = 0
    stalled: int = 0
    """Plans in a row after which the T had not moved."""


class Sense(Protocol):
    """Slot `sense`: from observations to a view."""

    def reset(self) -> None: ...
    def look(self, agent: Point, pose: Pose, *, touching: bool) -> View: ...


class Choose(Protocol):
    """Slot `choose`: the pushes to consider, best first."""

    def propose(self, view: View, grid: Grid) -> list[Push]: ...


class Route(Protocol):
    """Slot `route`: way points from the pusher to the start of a push (the last one), or None if there is no way."""

    def path(self, view: View, goal: Point) -> list[Point] | None: ...


class Drive(Protocol):
    """Slot `drive`: the target for this tick."""

    def begin(self, path: list[Point]) -> None: ...
    def follow(self, view: View, last: Point) -> tuple[Point, bool]:
        """Next target on the way to the push, and whether the start of the push is reached."""
        ...

    def push(self, view: View, push: Push, last: Point, step_px: float) -> tuple[Point, bool]:
        """Next target along the push, and whether the stroke is over."""
        ...


class Endgame(Protocol):
    """Slot `endgame`: how finely to work, and when to stop."""

    def grid(self, view: View) -> Grid: ...
    def verdict(self, view: View) -> str:
        """`go`, `hold` or `done`."""
        ...


class Pause(Protocol):
    """Slot `pause`: control periods to wait before a push (then aim anew) and after it."""

    def before_push(self, view: View) -> int: ...
    def after_push(self, view: View) -> int: ...


class Recover(Protocol):
    """Slot `recover`: what to do when nothing moves."""

    def revise(self, view: View, pushes: list[Push], grid: Grid, memory: Memory) -> list[Push]: ...


def pose_error(pose: Sequence[float]) -> float:
    """Root mean square distance in px of the T's corners from the goal's."""
    return float(pose_errors(np.array([pose[0]]), np.array([pose[1]]), np.array([pose[2]]))[0])


def pose_errors(x: Array, y: Array, angle: Array) -> Array:
    """`pose_error` of many poses; closed form: |shift of the mean corner|² + 2 ρ² (1 − cos Δ)."""
    gx, gy, ga = g.GOAL_POSE
    cg, sg = math.cos(ga), math.sin(ga)
    c, s = np.cos(angle), np.sin(angle)
    mx, my = _MEAN
    dx = x + c * mx - s * my - (gx + cg * mx - sg * my)
    dy = y + s * mx + c * my - (gy + sg * mx + cg * my)
    return np.asarray(np.sqrt(dx * dx + dy * dy + 2 * _RADIUS2 * (1 - np.cos(angle - ga))), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Contacts:
    """Places where the pusher can touch the T, in its body frame. All arrays have one row per contact."""

    touch: Array
    """[k, 2] point of the outline."""
    normal: Array
    """[k, 2] unit normal, outwards."""
    edge_low: Array
    edge_high: Array
    """[k] range of the tangential coordinate within which the pusher stays on the edge."""

    def starts(self, pose: Sequence[float], gap_px: float = GAP_PX) -> Array:
        """[k, 2] pusher's centre at `gap_px` from the T, on the table."""
        return g.to_world(self.touch + self.normal * (g.AGENT_RADIUS_PX + gap_px), pose)

    def directions(self, angle_rad: float) -> Array:
        """[k, 2] direction of the push on the table: against the normal."""
        c, s = math.cos(angle_rad), math.sin(angle_rad)
        nx, ny = self.normal[:, 0], self.normal[:, 1]
        return np.stack((-(c * nx - s * ny), -(s * nx + c * ny)), axis=1)

    def arms(self, cog: Point) -> Array:
        """[k] lever arm in px of the push about the centre of gravity; positive turns the T by a positive angle."""
        rx, ry = self.touch[:, 0] - cog[0], self.touch[:, 1] - cog[1]
        return np.asarray(-(rx * self.normal[:, 1] - ry * self.normal[:, 0]), dtype=np.float64)


@lru_cache(maxsize=32)
def contacts(spacing_px: float) -> Contacts:
    """Contacts along all edges about `spacing_px` apart, those in the corners of the T left out."""
    touch, normal, low, high = [], [], [], []
    for a, b in zip(_CORNERS, np.roll(_CORNERS, -1, axis=0), strict=True):
        length = float(np.hypot(*(b - a)))
        tangent = (b - a) / length
        n = np.array([tangent[1], -tangent[0]])
        count = max(1, round((length - 6) / spacing_px) + 1)
        places = [length / 2] if count == 1 else np.linspace(3, length - 3, count)
        for place in places:
            p = a + tangent * place
            if all(_clear(p + n * (g.AGENT_RADIUS_PX + gap)) for gap in (0.0, GAP_PX)):
                touch.append(p)
                normal.append(n)
                low.append(float(a @ tangent))
                high.append(float(b @ tangent))
    return Contacts(np.array(touch), np.array(normal), np.array(low), np.array(high))


def _clear(local: Array) -> bool:
    return g.distance_to_t(local.tolist(), (0.0, 0.0, 0.0)) >= g.AGENT_RADIUS_PX - 1e-6


def reachable(points: Array) -> NDArray[np.bool_]:
    """[k] whether the pusher's centre may stand at each of the points [k, 2]."""
    return np.asarray(((points > REACH_LOW_PX) & (points < REACH_HIGH_PX)).all(axis=1))


def advance(start: Point, end: Point, step_px: float) -> Point:
    """The point at most `step_px` from `start` towards `end`."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    distance = math.hypot(dx, dy)
    if distance <= step_px:
        return end
    return start[0] + dx * step_px / distance, start[1] + dy * step_px / distance


def make_push(start: Sequence[float], direction: Sequence[float], stroke_px: float,
              gain_px: float = 0.0, error_px: float = 0.0) -> Push:  # fmt: skip
    """A push from `start` that moves the T's edge by `stroke_px` (the gap before it comes on top)."""
    length = GAP_PX + stroke_px
    end = float(start[0] + direction[0] * length), float(start[1] + direction[1] * length)
    return Push((float(start[0]), float(start[1])), end, float(gain_px), float(error_px))


def ramp(view: View, push: Push, last: Point, step_px: float, end_px: float) -> tuple[Point, bool]:
    """Move the target along the stroke by `step_px` a tick; over when the pusher is within `end_px` of its end."""
    length = max(distance(push.start, push.end), 1e-6)
    ux, uy = (push.end[0] - push.start[0]) / length, (push.end[1] - push.start[1]) / length
    done = (last[0] - push.start[0]) * ux + (last[1] - push.start[1]) * uy
    done = min(max(done, 0.0) + step_px, length)
    target = push.start[0] + ux * done, push.start[1] + uy * done
    return target, done >= length and distance(view.agent, push.end) < end_px


def distance(a: Sequence[float], b: Sequence[float]) -> float:
    """Distance of two points in px."""
    return math.hypot(a[0] - b[0], a[1] - b[1])
