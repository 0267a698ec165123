"""Go on, whatever happens."""

from __future__ import annotations

from policies.library.pin_insertion.kit import Memory, Params, View


class Persist:
    """Never lifts, never gives up."""

    def reset(self) -> None:
        """Nothing to forget."""

    def verdict(self, view: View, memory: Memory, *, searched: bool) -> str:
        return "go"


def make(params: Params) -> Persist:
    """The module with its knobs set."""
    return Persist()
