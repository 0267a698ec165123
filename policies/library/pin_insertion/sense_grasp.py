"""Where the tip is in the hand, averaged over the approach; from then on the encoders say where the hand is."""

from __future__ import annotations

import numpy as np

from nightlab.skills.rotation import rotate
from policies.library.pin_insertion.kit import PIN_LENGTH_M, Array, Memory, Params, Reading, View


class Grasp:
    """Mean of the tip in the hand's frame over the first `frames` readings in free air."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self.reset()

    def reset(self) -> None:
        self._sum: Array = np.zeros(3)
        self._n = 0

    def look(self, reading: Reading, memory: Memory) -> View:
        rotvec = reading.tcp[3:]
        if self._n < self._frames and memory.phase == "approach":
            self._sum = self._sum + rotate(-rotvec, reading.pin[:3] - reading.tcp[:3])
            self._n += 1
        local = self._sum / self._n if self._n else np.array([0.0, 0.0, -PIN_LENGTH_M])
        return View(reading, reading.tcp[:3] + rotate(rotvec, local), reading.hole)


def make(params: Params) -> Grasp:
    """The module with its knobs set."""
    return Grasp(int(params.get("grasp_frames", 20)))
