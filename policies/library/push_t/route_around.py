"""Keep clear of the T on the way: shortest path around its outline, grown by the pusher's radius and a margin."""

from __future__ import annotations

import heapq
import math

from nightlab import geometry as g
from policies.library.push_t.kit import REACH_HIGH_PX, REACH_LOW_PX, Params, Point, Pose, View


class Around:
    """Visibility graph over the six outer corners of the grown T, searched by Dijkstra."""

    def __init__(self, margin_px: float) -> None:
        grow = g.AGENT_RADIUS_PX + margin_px
        self._boxes = [(x0 - grow, x1 + grow, y0 - grow, y1 + grow) for x0, x1, y0, y1 in (g.BAR_LOCAL, g.STEM_LOCAL)]
        out = grow + 0.5
        (bx0, bx1, by0, by1), (sx0, sx1, _, sy1) = g.BAR_LOCAL, g.STEM_LOCAL
        self._corners = [
            (bx0 - out, by0 - out), (bx1 + out, by0 - out), (bx1 + out, by1 + out),
            (sx1 + out, sy1 + out), (sx0 - out, sy1 + out), (bx0 - out, by1 + out),
        ]  # fmt: skip

    def path(self, view: View, goal: Point) -> list[Point] | None:
        pose = view.pose
        start, end = g.to_local(view.agent, pose), g.to_local(goal, pose)
        if math.dist(start, end) < 2.0:
            return [goal]
        lead_in = self._exit(start, pose)
        lead_out = self._exit(end, pose)
        if lead_in is None or lead_out is None:
            return None
        nodes = [lead_in, lead_out]
        nodes += [corner for corner in self._corners if _on_table(corner, pose)]
        order = self._shortest(nodes)
        if order is None:
            return None
        points = [nodes[i] for i in order]
        if lead_in is start:
            points = points[1:]
        if lead_out is not end:
            points.append(end)
        return [_world(point, pose) for point in points[:-1]] + [goal]

    def _exit(self, point: Point, pose: Pose) -> Point | None:
        """The point itself if it is clear of the grown T, else the nearest point on the table that is."""
        if not any(_within(point, box) for box in self._boxes):
            return point
        x, y = point
        ways = []
        for x0, x1, y0, y1 in self._boxes:
            for way in ((x0 - 0.5, y), (x1 + 0.5, y), (x, y0 - 0.5), (x, y1 + 0.5)):
                if not any(_within(way, box) for box in self._boxes) and _on_table(way, pose):
                    crossing = _crosses(point, way, _SOLID)
                    ways.append((crossing, math.dist(point, way), way))
        return min(ways)[2] if ways else None

    def _shortest(self, nodes: list[Point]) -> list[int] | None:
        best = {0: 0.0}
        previous: dict[int, int] = {}
        queue = [(0.0, 0)]
        done: set[int] = set()
        while queue:
            length, i = heapq.heappop(queue)
            if i in done:
                continue
            done.add(i)
            if i == 1:
                path = [1]
                while path[-1] != 0:
                    path.append(previous[path[-1]])
                return path[::-1]
            for k, node in enumerate(nodes):
                if k in done:
                    continue
                total = length + math.dist(nodes[i], node)
                if total < best.get(k, math.inf) and not _crosses(nodes[i], node, self._boxes):
                    best[k], previous[k] = total, i
                    heapq.heappush(queue, (total, k))
        return None


Box = tuple[float, float, float, float]
_SOLID: list[Box] = [g.BAR_LOCAL, g.STEM_LOCAL]


def _within(point: Point, box: Box) -> bool:
    return box[0] < point[0] < box[1] and box[2] < point[1] < box[3]


def _crosses(a: Point, b: Point, boxes: list[Box]) -> bool:
    """Whether the open segment enters the inside of a box (slab method)."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    for x0, x1, y0, y1 in boxes:
        low, high = 0.0, 1.0
        for start, step, near, far in ((a[0], dx, x0, x1), (a[1], dy, y0, y1)):
            if abs(step) < 1e-9:
                if not near < start < far:
                    low, high = 1.0, 0.0
                continue
            t0, t1 = (near - start) / step, (far - start) / step
            low, high = max(low, min(t0, t1)), min(high, max(t0, t1))
        if high - low > 1e-9:
            return True
    return False


def _world(point: Point, pose: Pose) -> Point:
    c, s = math.cos(pose[2]), math.sin(pose[2])
    return pose[0] + c * point[0] - s * point[1], pose[1] + s * point[0] + c * point[1]


def _on_table(point: Point, pose: Pose) -> bool:
    x, y = _world(point, pose)
    return REACH_LOW_PX < x < REACH_HIGH_PX and REACH_LOW_PX < y < REACH_HIGH_PX


def make(params: Params) -> Around:
    """The module with its knobs set."""
    return Around(params.get("margin_px", 12.0))
