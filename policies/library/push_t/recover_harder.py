"""Push every stroke further than planned: a little overshoot beats friction and stays on the safe side."""

from __future__ import annotations

from policies.library.push_t.kit import Grid, Memory, Params, Push, View


class Harder:
    """Every stroke is longer by `extra_px`."""

    def __init__(self, extra_px: float) -> None:
        self._extra_px = extra_px

    def revise(self, view: View, pushes: list[Push], grid: Grid, memory: Memory) -> list[Push]:
        return [self._longer(push) for push in pushes]

    def _longer(self, push: Push) -> Push:
        dx, dy = push.end[0] - push.start[0], push.end[1] - push.start[1]
        share = self._extra_px / max((dx * dx + dy * dy) ** 0.5, 1e-6)
        return Push(push.start, (push.end[0] + dx * share, push.end[1] + dy * share), push.gain_px, push.error_px)


def make(params: Params) -> Harder:
    """The module with its knobs set."""
    return Harder(params.get("extra_px", 8.0))
