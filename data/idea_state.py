"""One idea of a campaign and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from nightlab.records import Decision, IterationStatus, Judgement, Proposal


@dataclass(slots=True)
class IdeaState:
    """One idea and what became of it."""

    idea: str
    parent: str | None = None
    commit: str = ""
    station: str = ""
    proposal: Proposal | None = None
    status: IterationStatus = IterationStatus.RUNNING
    detail: str = ""
    judgement: Judgement | None = None
    judged_s: float = 0.0

    @property
    def decision(self) -> Decision | None:
        return self.judgement.decision if self.judgement else None
