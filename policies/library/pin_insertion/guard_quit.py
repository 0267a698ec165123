"""Give up before a force can do harm."""

from __future__ import annotations

from policies.library.pin_insertion.kit import Array, Memory, Params, View


class Quit:
    """Above `quit_N` the episode ends."""

    def __init__(self, quit_N: float) -> None:
        self._quit_N = quit_N

    def reset(self) -> None:
        """Nothing to forget."""

    def allow(self, goal: Array, view: View, memory: Memory) -> Array | None:
        return None if max(view.load_N, view.reading.peak_N) > self._quit_N else goal


def make(params: Params) -> Quit:
    """The module with its knobs set."""
    return Quit(params.get("quit_N", 15.0))
