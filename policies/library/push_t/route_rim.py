"""Travel along the rim of the table, where the T seldom is, and come in only at the end."""

from __future__ import annotations

from policies.library.push_t.kit import Params, Point, View

_RIM = ((30.0, 30.0), (482.0, 30.0), (482.0, 482.0), (30.0, 482.0))


class Rim:
    """Nearest point of the rim, along the corners the shorter way, then in."""

    def path(self, view: View, goal: Point) -> list[Point] | None:
        side_in, out = _nearest(view.agent)
        side_out, back = _nearest(goal)
        path = [out]
        steps = (side_out - side_in) % 4
        if steps <= 2:
            path += [_RIM[(side_in + 1 + k) % 4] for k in range(steps)]
        else:
            path.append(_RIM[side_in])
        return [*path, back, goal]


def _nearest(point: Point) -> tuple[int, Point]:
    """Side (0 top, 1 right, 2 bottom, 3 left) and the point of the rim nearest to `point`."""
    x, y = (min(max(value, 30.0), 482.0) for value in point)
    ways = [(y - 30.0, 0, (x, 30.0)), (482.0 - x, 1, (482.0, y)), (482.0 - y, 2, (x, 482.0)), (x - 30.0, 3, (30.0, y))]
    _, side, spot = min(ways)
    return side, spot


def make(params: Params) -> Rim:
    """The module with its knobs set."""
    return Rim()
