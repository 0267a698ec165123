"""After each push wait until the pusher and the T have come to rest, then plan."""

from __future__ import annotations

from policies.library.push_t.kit import Params, View


class Settle:
    """`settle_steps` control periods after each push."""

    def __init__(self, settle_steps: int) -> None:
        self._settle_steps = settle_steps

    def before_push(self, view: View) -> int:
        return 0

    def after_push(self, view: View) -> int:
        return self._settle_steps


def make(params: Params) -> Settle:
    """The module with its knobs set."""
    return Settle(int(params.get("settle_steps", 3)))
