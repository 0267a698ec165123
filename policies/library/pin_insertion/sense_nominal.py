"""The pin hangs straight below the TCP, as long as it should be."""

from __future__ import annotations

import numpy as np

from nightlab.skills.rotation import rotate
from policies.library.pin_insertion.kit import PIN_LENGTH_M, Memory, Params, Reading, View


class Nominal:
    """Encoders and a nominal length; what the cameras say about the pin is not used."""

    def __init__(self, length_m: float) -> None:
        self._local = np.array([0.0, 0.0, -length_m])

    def reset(self) -> None:
        """Nothing to forget."""

    def look(self, reading: Reading, memory: Memory) -> View:
        return View(reading, reading.tcp[:3] + rotate(reading.tcp[3:], self._local), reading.hole)


def make(params: Params) -> Nominal:
    """The module with its knobs set."""
    return Nominal(params.get("pin_length_m", PIN_LENGTH_M))
