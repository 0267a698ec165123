"""E: researchers. They propose ideas by editing a workspace; only the harness commits, and only the judge decides."""

from __future__ import annotations

from nightlab.contracts import Researcher
from nightlab.errors import UsageError

KINDS = ("offline", "scripted", "scripted:FILE.yaml", "command:PROGRAM ARGS")


def make_researcher(spec: str, *, seed: int = 0) -> Researcher:
    """A researcher by its spec: `offline`, `scripted`, `scripted:FILE.yaml` or `command:PROGRAM ARGS`.

    Raises:
        UsageError: the spec names none of these, lacks its argument, or its file does not exist.
    """
    kind, _, argument = spec.partition(":")
    if kind == "offline" and not argument:
        from agents.offline import OfflineResearcher

        return OfflineResearcher(seed=seed)
    if kind == "scripted" and not argument:
        from agents.turns import TurningResearcher

        return TurningResearcher(seed=seed)
    if kind == "scripted":
        from agents.scripted import ScriptedResearcher

        return ScriptedResearcher.load(argument, seed=seed)
    if kind == "command" and argument:
        from agents.command import CommandResearcher

        return CommandResearcher.parse(argument)
    raise UsageError.unknown("researcher", spec, KINDS, "nightlab run push_t --researcher offline")
