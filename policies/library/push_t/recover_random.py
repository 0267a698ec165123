"""When there is no push to make, or pushes move nothing, make a short random one."""

from __future__ import annotations

from policies.library.push_t.kit import Grid, Memory, Params, Push, View, contacts, make_push, reachable


class Shake:
    """After `stall_plans` plans without motion: a random contact, a random stroke up to `shake_px`."""

    def __init__(self, stall_plans: int, shake_px: float) -> None:
        self._stall_plans = stall_plans
        self._shake_px = shake_px

    def revise(self, view: View, pushes: list[Push], grid: Grid, memory: Memory) -> list[Push]:
        if pushes and memory.stalled < self._stall_plans:
            return pushes
        spots = contacts(12.0)
        starts, directions = spots.starts(view.pose), spots.directions(view.pose[2])
        usable = reachable(starts)
        order = memory.rng.permutation(len(starts))
        stroke = float(memory.rng.uniform(1.0, self._shake_px))
        return [make_push(starts[i], directions[i], stroke) for i in order if usable[i]] or pushes


def make(params: Params) -> Shake:
    """The module with its knobs set."""
    return Shake(int(params.get("stall_plans", 2)), params.get("shake_px", 8.0))
