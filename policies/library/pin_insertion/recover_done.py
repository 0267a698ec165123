"""Say done when the search is over: further pressing can only do harm."""

from __future__ import annotations

from policies.library.pin_insertion.kit import Memory, Params, View


class Done:
    """Ends the episode when the pattern is over."""

    def reset(self) -> None:
        """Nothing to forget."""

    def verdict(self, view: View, memory: Memory, *, searched: bool) -> str:
        return "done" if searched else "go"


def make(params: Params) -> Done:
    """The module with its knobs set."""
    return Done()
