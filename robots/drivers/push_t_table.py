"""A real Push-T table as its station shows it: straightened, in the printed colours; and the pose of the T in it.

The T is found in the straightened picture: its share of each pixel by colour, the outline of that, and a rigid fit of
the known outline to it (iterated closest points, the worst third of the points dropped: they belong to whatever hides
part of the T).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nightlab import geometry as g
from nightlab.errors import UsageError
from robots.worlds.push_t_camera import AGENT_RGB, BLOCK_RGB, GOAL_RGB, WHITE

SIZE_px: Final = 512
NOMINAL: Final[Mapping[str, tuple[int, int, int]]] = {
    "paper": WHITE, "goal": GOAL_RGB, "block": BLOCK_RGB, "agent": AGENT_RGB,
}  # fmt: skip
MIN_AREA_px2: Final = 2000.0
NOT_T_rgb: Final = 110.0
"""A colour farther than this from the T's is something else; half T, half paper is 104 away."""
KEPT: Final = 0.66
ROUNDS: Final = 25
GOOD_px: Final = 2.0
"""Root mean square distance of the kept outline points that counts as found."""

Floats = NDArray[np.float64]


class Table:
    """Straightens pictures and finds the T.

    Args:
        corners_px: where the table's corners are in the camera's picture: those at (0, 0), (512, 0), (512, 512) and
            (0, 512) of the table, the outer edge of the printed sheet's frame.
        colours: RGB of paper, goal, block (the T) and agent (the disc) as the camera sees them under your light.

    Raises:
        UsageError: corners that span nothing, colours that are missing or cannot be told apart.
    """

    def __init__(self, corners_px: Sequence[Sequence[float]], colours: Mapping[str, Sequence[float]]) -> None:
        import cv2

        seen = np.array(corners_px, dtype=np.float32)
        if seen.shape != (4, 2) or abs(cv2.contourArea(seen)) < 100 or not cv2.isContourConvex(seen):
            raise UsageError("corners_px: four corners [x, y] of the table in the picture, clockwise from its (0, 0)")
        square = np.array([(0, 0), (SIZE_px, 0), (SIZE_px, SIZE_px), (0, SIZE_px)], dtype=np.float32)
        half = np.float32(0.5)  # a pixel's centre is half a pixel from its corner
        self._straighten = cv2.getPerspectiveTransform(seen - half, square - half)
        self._recolour = _recolouring(colours)
        nominal = np.array([NOMINAL[name] for name in ("paper", "goal", "agent", "block")], dtype=np.float64)
        shares = np.linalg.solve(np.column_stack([nominal, np.ones(4)]), np.array([0.0, 0.0, 0.0, 255.0]))
        self._block_share = shares[None, :]
        self._model = _outline(2.0)

    def straightened(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The table alone, uint8 [512, 512, 3], in the printed colours."""
        import cv2

        flat = cv2.warpPerspective(rgb, self._straighten, (SIZE_px, SIZE_px), flags=cv2.INTER_LINEAR)
        return np.asarray(cv2.transform(flat, self._recolour), dtype=np.uint8)

    def block_pose(self, table: NDArray[np.uint8], near: Floats | None = None) -> Floats | None:
        """Pose (x px, y px, angle rad) of the T in a straightened picture; None: not seen.

        Args:
            table: from `straightened`.
            near: its last pose, tried first.
        """
        import cv2

        share = cv2.transform(table, self._block_share)
        apart = table.astype(np.int32) - BLOCK_RGB  # an arm above the table may look like more than all of the T
        mask = ((cv2.GaussianBlur(share, (3, 3), 0) > 127) & ((apart**2).sum(axis=2) < NOT_T_rgb**2)).astype(np.uint8)
        mask[:8], mask[-8:], mask[:, :8], mask[:, -8:] = 0, 0, 0, 0  # the frame's grey looks a little like the T
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        contours = [contour for contour in contours if cv2.contourArea(contour) > 100]
        if sum(cv2.contourArea(contour) for contour in contours) < MIN_AREA_px2:
            return None
        edge = np.concatenate([contour[:, 0, :] for contour in contours]).astype(np.float64) + 0.5
        if near is not None:
            pose, error = self._fit(edge[::2], self._model, near, ROUNDS)
            if error < GOOD_px:
                return pose
        guesses = _guesses(cv2.moments(mask, binaryImage=True))
        coarse = [self._fit(edge[::6], self._model[::3], guess, ROUNDS // 3) for guess in guesses]
        pose, error = self._fit(edge[::2], self._model, min(coarse, key=lambda fit: fit[1])[0], ROUNDS)
        return pose if error < GOOD_px else None

    @staticmethod
    def _fit(edge: Floats, outline: Floats, guess: Floats, rounds: int) -> tuple[Floats, float]:
        """Iterated closest points from the picture's edge to the outline; pose, and error px of the points kept."""
        pose: Floats = np.array(guess)
        error = math.inf
        for _ in range(rounds):
            model = g.to_world(outline, pose.tolist())
            squared = (edge[:, :1] - model[:, 0]) ** 2 + (edge[:, 1:] - model[:, 1]) ** 2
            nearest = squared.argmin(axis=1)
            distance = squared[np.arange(len(edge)), nearest]
            kept = np.argsort(distance)[: max(20, int(KEPT * len(edge)))]
            before, error = error, float(np.sqrt(distance[kept].mean()))
            body, seen = outline[nearest[kept]], edge[kept]
            a, b = body - body.mean(axis=0), seen - seen.mean(axis=0)
            angle = math.atan2(float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()), float((a * b).sum()))
            c, s = math.cos(angle), math.sin(angle)
            x, y = (seen.mean(axis=0) - np.array([[c, -s], [s, c]]) @ body.mean(axis=0)).tolist()
            pose = np.array([x, y, g.wrap_angle(angle)])
            if before - error < 1e-4:
                break
        return pose, error


def _recolouring(colours: Mapping[str, Sequence[float]]) -> Floats:
    """(3, 4): the affine map that sends the four colours that are seen to the printed ones."""
    if set(colours) != set(NOMINAL) or any(len(colour) != 3 for colour in colours.values()):
        raise UsageError(f"colours: [r, g, b] of each of {', '.join(NOMINAL)} as the camera sees them")
    seen = np.array([[*colours[name], 1.0] for name in NOMINAL], dtype=np.float64)
    if np.linalg.cond(seen / [255, 255, 255, 1]) > 1e3:
        raise UsageError("colours: the four cannot be told apart; more light, or other paint for T or disc")
    return np.asarray(np.linalg.solve(seen, np.array([NOMINAL[name] for name in NOMINAL])).T, dtype=np.float64)


def _outline(spacing_px: float) -> Floats:
    """Points on the outline of the T, body frame, (n, 2) px."""
    points = []
    for start, end in zip(g.T_OUTLINE_LOCAL, np.roll(g.T_OUTLINE_LOCAL, -1, axis=0), strict=True):
        steps = max(2, round(float(np.hypot(*(end - start))) / spacing_px))
        points.append(start + (end - start) * (np.arange(steps) / steps)[:, None])
    return np.concatenate(points)


def _guesses(m: Mapping[str, float]) -> list[Floats]:
    """Twelve angles about the centroid of what is seen, the likeliest first."""
    centre = np.array([m["m10"], m["m01"]]) / m["m00"] + 0.5
    axis = 0.5 * math.atan2(2 * m["mu11"], m["mu20"] - m["mu02"]) - math.pi / 2
    x, y = g.T_CENTROID_LOCAL
    out = []
    for turn in (0, 6, 1, 11, 5, 7, 2, 10, 4, 8, 3, 9):
        c, s = math.cos(axis + turn * math.pi / 6), math.sin(axis + turn * math.pi / 6)
        out.append(np.array([centre[0] - c * x + s * y, centre[1] - s * x - c * y, axis + turn * math.pi / 6]))
    return out
