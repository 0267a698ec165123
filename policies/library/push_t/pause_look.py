"""Stop at the start of each push, look, and aim anew from what is seen there."""

from __future__ import annotations

from policies.library.push_t.kit import Params, View


class Look:
    """`look_steps` control periods before each push, `settle_steps` after it."""

    def __init__(self, look_steps: int, settle_steps: int) -> None:
        self._look_steps = look_steps
        self._settle_steps = settle_steps

    def before_push(self, view: View) -> int:
        return self._look_steps

    def after_push(self, view: View) -> int:
        return self._settle_steps


def make(params: Params) -> Look:
    """The module with its knobs set."""
    return Look(int(params.get("look_steps", 2)), int(params.get("settle_steps", 1)))
