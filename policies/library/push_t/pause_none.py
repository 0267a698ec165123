"""Never wait: the next plan starts while the last push still runs out."""

from __future__ import annotations

from policies.library.push_t.kit import Params, View


class Never:
    """No pause anywhere."""

    def before_push(self, view: View) -> int:
        return 0

    def after_push(self, view: View) -> int:
        return 0


def make(params: Params) -> Never:
    """The module with its knobs set."""
    return Never()
