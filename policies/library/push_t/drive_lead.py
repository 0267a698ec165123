"""Follow the path with a target that runs a fixed length ahead of the pusher; push with a ramp."""

from __future__ import annotations

from policies.library.push_t.kit import Params, Point, Push, View, advance, distance


class Lead:
    """Pure pursuit: the target lies `lead_px` along the path from the pusher, at most `past_px` past the next corner."""

    def __init__(self, lead_px: float, past_px: float, arrive_px: float, end_px: float) -> None:
        self._lead_px = lead_px
        self._past_px = past_px
        self._arrive_px = arrive_px
        self._end_px = end_px
        self._path: list[Point] = []

    def begin(self, path: list[Point]) -> None:
        self._path = list(path)
        self._from: Point | None = None

    def follow(self, view: View, last: Point) -> tuple[Point, bool]:
        if self._from is None:
            self._from = view.agent
        path = [self._from, *self._path]
        here = _nearest(view.agent, path[0], path[1])
        while len(path) > 2:
            there = _nearest(view.agent, path[1], path[2])
            passed = distance(view.agent, path[1]) < self._arrive_px
            if not passed and distance(view.agent, there) > distance(view.agent, here):
                break
            path.pop(0)
            here = there
        self._from, self._path = path[0], path[1:]
        left, target = self._lead_px, here
        for index, point in enumerate(self._path):  # noqa: B007 - used after the loop
            step = distance(target, point)
            if step >= left:
                target = advance(target, point, left)
                break
            target, left = point, min(left - step, self._past_px)
        if index > 0 and distance(view.agent, target) < self._arrive_px:  # a hairpin: the target came back to us
            self._from, self._path = target, self._path[index:]
        arrived = len(self._path) == 1 and distance(view.agent, self._path[0]) < self._arrive_px
        return target, arrived

    def push(self, view: View, push: Push, last: Point, step_px: float) -> tuple[Point, bool]:
        return ramp(view, push, last, step_px, self._end_px)


def ramp(view: View, push: Push, last: Point, step_px: float, end_px: float) -> tuple[Point, bool]:
    """Move the target along the stroke by `step_px` a tick; over when the pusher is within `end_px` of its end."""
    length = max(distance(push.start, push.end), 1e-6)
    ux, uy = (push.end[0] - push.start[0]) / length, (push.end[1] - push.start[1]) / length
    done = (last[0] - push.start[0]) * ux + (last[1] - push.start[1]) * uy
    done = min(max(done, 0.0) + step_px, length)
    target = push.start[0] + ux * done, push.start[1] + uy * done
    return target, done >= length and distance(view.agent, push.end) < end_px


def _nearest(point: Point, a: Point, b: Point) -> Point:
    """The point of the segment a-b nearest to `point`."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    square = dx * dx + dy * dy
    share = ((point[0] - a[0]) * dx + (point[1] - a[1]) * dy) / square if square > 1e-9 else 1.0
    share = min(max(share, 0.0), 1.0)
    return a[0] + share * dx, a[1] + share * dy


def make(params: Params) -> Lead:
    """The module with its knobs set."""
    return Lead(
        params.get("lead_px", 60.0),
        params.get("past_px", 25.0),
        params.get("arrive_px", 6.0),
        params.get("end_px", 1.5),
    )
