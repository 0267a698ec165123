"""Low-pass filter of the tip's place on the table at all times."""

from __future__ import annotations

from policies.library.pin_insertion.kit import Array, Memory, Params, Reading, View


class Smooth:
    """Exponential filter in the frame of the table: each reading counts `share`, the past the rest."""

    def __init__(self, share: float) -> None:
        self._share = share
        self.reset()

    def reset(self) -> None:
        self._tip: Array | None = None

    def look(self, reading: Reading, memory: Memory) -> View:
        new = reading.pin[:3]
        self._tip = new.copy() if self._tip is None else self._tip + self._share * (new - self._tip)
        return View(reading, self._tip.copy(), reading.hole)


def make(params: Params) -> Smooth:
    """The module with its knobs set."""
    return Smooth(params.get("smooth_share", 0.2))
