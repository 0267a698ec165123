"""Ideas: what researchers are told, what they propose, and what became of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from nightlab.records.base import Decision, IterationStatus, Record


class Usage(Record):
    """Tokens of one proposal. `None` means not reported, never 0. input includes cached; output includes reasoning."""

    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    exact: bool = True
    source: str = "none"


class Passage(Record):
    """A passage of the literature index, cited by `source`."""

    source: str
    title: str
    text: str
    families: tuple[str, ...] = ()
    """Idea families that the passage supports."""
    relevance: float = 0.0


class IdeaSummary(Record):
    """One earlier (or pending) idea as a researcher sees it. No seeds."""

    idea: str
    parent: str | None
    family: str
    mutation: dict[str, Any]
    """Researcher's own description of the change, e.g. {"slot": "route", "module": "around"} or {"knob": ..., "value": ...}."""
    params: dict[str, Any] = {}
    """The idea's whole params.yaml after the change."""
    modules: dict[str, str] = {}
    """The idea's module per slot after the change."""
    hypothesis: str
    status: IterationStatus
    decision: Decision | None = None
    beats_parent: bool = False
    """It won against its own parent but not against the incumbent of the day: worth adopting onto the incumbent."""
    n: int = 0
    successes: int = 0
    mean_score: float | None = None
    mean_steps: float | None = None
    failures: dict[str, int] = {}
    researcher: str


class ProposalStatus(StrEnum):
    """How a proposal ended."""

    OK = "ok"
    NO_CHANGE = "no_change"
    TIMEOUT = "timeout"
    BUDGET = "budget"
    RATE_LIMITED = "rate_limited"
    AUTH = "auth"
    REFUSED_FROZEN = "refused_frozen"
    CRASH = "crash"


class ProposalContext(Record):
    """What a researcher is given. Everything in it may be shown to an agent: no seeds, no held-out episodes."""

    campaign: str
    environment: str
    goal: str
    idea: str
    """The id that the proposal will get."""
    incumbent: str
    workspace: str
    """Path of a private checkout of the incumbent that the researcher edits."""
    ideas: tuple[IdeaSummary, ...]
    passages: tuple[Passage, ...] = ()
    failure_histogram: dict[str, int] = {}
    seed: int
    tokens_left: int | None = None
    wall_left_s: float | None = None
    editable: tuple[str, ...] = ()
    """What may be edited in the workspace; empty: the files of a policy."""
    contract: str = ""
    """What the edited files must define, for work other than a policy."""


class Proposal(Record):
    """A hypothesis and the edit that tests it, made in `ProposalContext.workspace`; the harness commits it."""

    status: ProposalStatus
    researcher: str
    hypothesis: str = ""
    falsified_if: str = ""
    expected_effect: str = ""
    family: str = "other"
    mutation: dict[str, Any] = {}
    params: dict[str, Any] = {}
    modules: dict[str, str] = {}
    parents: tuple[str, ...] = ()
    inspired_by: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    """`Passage.source` of what was used."""
    diff: str = ""
    usage: Usage = Usage()
    detail: str = ""
    wall_s: float = 0.0


class Idea(Record):
    """A committed proposal."""

    idea: str
    commit: str
    parent: str | None
    branch: str
    proposal: Proposal


class Checkpoint(Record):
    """A folder with config.json, params and, where learned, model.safetensors."""

    path: str
    """Relative to the lab."""
    sha256: str
    log: str = ""


class Rate(Record):
    """A success rate with its 95 % Wilson interval. `n` excludes UNSCORED."""

    n: int = Field(ge=0)
    successes: int = Field(ge=0)
    unscored: int = 0
    wilson_low: float
    wilson_high: float
    wilson_low_unscored_as_failure: float
    mean_score: float | None = None
    mean_steps: float | None = None


class Judgement(Record):
    """The decision about an idea and the evidence it rests on. A pure function of the ledger."""

    decision: Decision
    reason: str
    against: str
    """The incumbent it was compared with."""
    pairs: int
    wins: int
    losses: int
    p_better: float
    p_worse: float
    candidate: Rate
    incumbent: Rate
    beats_parent: bool = False
    failures: dict[str, int] = {}
