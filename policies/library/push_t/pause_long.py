"""Give the table some seconds of rest after each push, so that nothing moves any more for certain."""

from __future__ import annotations

from policies.library.push_t.kit import Params, View


class Long:
    """`rest_steps` control periods after each push."""

    def __init__(self, rest_steps: int) -> None:
        self._rest_steps = rest_steps

    def before_push(self, view: View) -> int:
        return 0

    def after_push(self, view: View) -> int:
        return self._rest_steps


def make(params: Params) -> Long:
    """The module with its knobs set."""
    return Long(int(params.get("rest_steps", 25)))
