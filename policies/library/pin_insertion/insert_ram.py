"""Straight down to full depth at once."""

from __future__ import annotations

import numpy as np

from policies.library.pin_insertion.kit import FULL_DEPTH_M, Array, Memory, Params, View, surface_m


class Ram:
    """The goal is the full depth below the place of entry."""

    def reset(self) -> None:
        """Nothing to forget."""

    def way(self, view: View, memory: Memory) -> Array:
        return np.array([*memory.entry, surface_m(view, memory) - 1.4 * FULL_DEPTH_M])


def make(params: Params) -> Ram:
    """The module with its knobs set."""
    return Ram()
