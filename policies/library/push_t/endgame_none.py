"""The same coarse pushes from beginning to end."""

from __future__ import annotations

from policies.library.push_t.kit import Grid, Params, View


class Same:
    """One grid, never done."""

    def grid(self, view: View) -> Grid:
        return Grid()

    def verdict(self, view: View) -> str:
        return "go"


def make(params: Params) -> Same:
    """The module with its knobs set."""
    return Same()
