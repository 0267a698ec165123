"""A researcher authors an environment's reset and verify on copies; the workbench measures, a person freezes.

Each round the researcher edits its workspace, the candidate runs in a sandbox, and what it gets to see is its scores and
its failures on the development half of a labelled set. Nothing of the held-out half comes near it: `nightlab verifier
freeze --from` measures the result there, and signs it.

    out/workspace/      what the researcher edits; `development/` in it holds its last failures with pictures
    out/candidates/B1/  the files as proposed, and what came of them (score.json)
    out/best/           the files of the best candidate so far
    out/report.json
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from agents import make_researcher
from environments import package_name
from environments.manifest import manifest_path
from environments.workbench.authoring import AUTHORED, CONTRACT, fill, show_failures
from environments.workbench.judge import CandidateError, Judge
from environments.workbench.labelled import LabelledSet, open_set
from environments.workbench.resets import ResetScore, score_resets
from environments.workbench.scores import Miss, Scores, histogram, score
from environments.workbench.versions import find
from nightlab.cards import card
from nightlab.contracts import Researcher
from nightlab.errors import SandboxError, UsageError
from nightlab.records import Decision, IdeaSummary, IterationStatus, Proposal, ProposalContext, ProposalStatus, Record
from nightlab.sandbox import probe
from nightlab.seeding import derive


class BuildScore(Record):
    """What a candidate came to on the development set and at a simulated station."""

    verify: Scores | None = None
    verify_error: str = ""
    reset: ResetScore | None = None
    failures: dict[str, int] = Field(default_factory=dict)

    def parts(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Quality of verify and of reset, each greater for better."""
        verify = self.verify
        judged = (-1e9,) if verify is None else (
            -float(verify.false_positives_outside_band + verify.broken + verify.unscored),
            verify.agreement_outside_band,
            verify.agreement,
        )  # fmt: skip
        return judged, (-1.0,) if self.reset is None else (self.reset.success_rate, -self.reset.mean_attempts)

    def beats(self, other: BuildScore) -> bool:
        """Neither part worse, one of them better."""
        ours, theirs = self.parts(), other.parts()
        return all(a >= b for a, b in zip(ours, theirs, strict=True)) and ours != theirs


class Round(Record):
    """One proposal and what became of it."""

    idea: str
    status: ProposalStatus
    hypothesis: str = ""
    detail: str = ""
    kept: bool = False
    diff: str = ""
    score: BuildScore | None = None


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """What is to be built."""

    environment: str
    researcher: str
    out: Path
    rounds: int = 5
    set_name: str = "sim"
    resets: int = 10
    profile: str = "nominal"
    seed: int = 0
    source: Path | None = None
    """Files to begin with in place of the environment's own."""


async def build(order: BuildOrder, *, on_round: Callable[[Round], None] = lambda _: None) -> dict[str, Any]:
    """Run the rounds; returns the report, which is also written to `out/report.json`.

    Raises:
        UsageError: unknown environment, set or researcher, or `out` is in use.
        SandboxError: this host cannot contain a candidate, so the held-out set could be read.
    """
    if order.researcher.partition(":")[0] == "offline":
        raise UsageError(
            "the offline researcher combines modules of policies and cannot write a verifier; use --researcher "
            "scripted:FILE.yaml or 'command:PROGRAM ARGS'"
        )
    if probe().level == "rlimits":
        raise SandboxError(f"a built environment must be contained, or it could read the held-out set: {probe().line}")
    package_name(order.environment)
    researcher = make_researcher(order.researcher, seed=derive(order.seed, "researcher"))
    return await _Build(order, researcher, open_set(order.environment, order.set_name, "development")).run(on_round)


class _Build:
    """One run of the loop."""

    def __init__(self, order: BuildOrder, researcher: Researcher, development: LabelledSet) -> None:
        if order.out.exists() and any(order.out.iterdir()):
            raise UsageError(f"{order.out} is not empty; name another folder: --out DIR")
        self.order, self.researcher, self.development = order, researcher, development
        self.workspace = order.out / "workspace"
        self.best_dir = order.out / "best"
        self.rounds: list[Round] = []
        home = manifest_path(order.environment).parent
        self.editable = (*(name for name in AUTHORED if (home / name).is_file()), "notes.md")

    async def run(self, on_round: Callable[[Round], None]) -> dict[str, Any]:
        fill(self.workspace, self.order.environment, self.editable, self.order.source)
        self._copy(self.workspace, self.best_dir)
        best, misses = await self._measure(self.best_dir, "B0")
        self._note(Round(idea="B0", status=ProposalStatus.OK, hypothesis="as given", kept=True, score=best), on_round)
        for number in range(1, self.order.rounds + 1):
            idea = f"B{number}"
            show_failures(self.workspace, self.development, best.verify, misses, best.reset)
            proposal = await self.researcher.propose(self._context(idea, best))
            if proposal.status is not ProposalStatus.OK:
                self._note(_refused(idea, proposal), on_round)
                self._copy(self.best_dir, self.workspace)
                if proposal.status is ProposalStatus.NO_CHANGE:
                    break
                continue
            candidate = self.order.out / "candidates" / idea
            self._copy(self.workspace, candidate)
            made, found = await self._measure(candidate, idea)
            kept = made.beats(best)
            if kept:
                best, misses = made, found
                self._copy(candidate, self.best_dir)
            else:
                self._copy(self.best_dir, self.workspace)
            (candidate / "score.json").write_text(made.model_dump_json(indent=1))
            self._note(
                Round(
                    idea=idea,
                    status=proposal.status,
                    hypothesis=proposal.hypothesis,
                    detail=made.verify_error,
                    kept=kept,
                    diff=proposal.diff,
                    score=made,
                ),
                on_round,
            )
        return self._report(best)

    async def _measure(self, folder: Path, idea: str) -> tuple[BuildScore, list[Miss]]:
        """Verify on the development set, then reset at a simulated station, both in the sandbox."""
        order = self.order
        with tempfile.TemporaryDirectory(prefix="nightlab-candidate-") as place:
            version = find(order.environment, str(folder), Path(place))
            try:
                async with Judge(version) as judge:
                    scores, misses = await score(
                        judge, self.development, flicker=False, ablation=False, seed=derive(order.seed, idea)
                    )
                    seeds = [derive(order.seed, "build-reset", number) for number in range(order.resets)]
                    reset = await score_resets(judge, order.environment, order.profile, seeds) if seeds else None
            except CandidateError as error:
                return BuildScore(verify_error=str(error)[:1000], failures={"does not run": 1}), []
        failures = histogram(misses) | ({} if reset is None else reset.failures)
        return BuildScore(verify=scores, reset=reset, failures=failures), misses

    def _context(self, idea: str, best: BuildScore) -> ProposalContext:
        order = self.order
        return ProposalContext(
            campaign="build",
            environment=order.environment,
            goal=f"Reset and verify for: {card(order.environment).goal}",
            idea=idea,
            incumbent=next(known.idea for known in reversed(self.rounds) if known.kept),
            workspace=str(self.workspace),
            ideas=tuple(_summary(known, self.researcher.name) for known in self.rounds),
            failure_histogram=best.failures,
            seed=derive(order.seed, "propose", idea),
            editable=self.editable,
            contract=CONTRACT,
        )

    def _copy(self, source: Path, target: Path) -> None:
        """The editable files of one folder into another; links are never followed."""
        target.mkdir(parents=True, exist_ok=True)
        for name in self.editable:
            (target / name).unlink(missing_ok=True)
            if (source / name).is_file() and not (source / name).is_symlink():
                shutil.copyfile(source / name, target / name)

    def _note(self, made: Round, on_round: Callable[[Round], None]) -> None:
        self.rounds.append(made)
        on_round(made)

    def _report(self, best: BuildScore) -> dict[str, Any]:
        kept = next(made.idea for made in reversed(self.rounds) if made.kept)
        report = {
            "environment": self.order.environment,
            "researcher": self.researcher.name,
            "finished_wall_s": time.time(),
            "best": kept,
            "folder": str(self.best_dir),
            "rounds": [made.model_dump(mode="json") for made in self.rounds],
            "score": best.model_dump(mode="json"),
            "next": f"nightlab verifier freeze {self.order.environment} --from {self.best_dir}",
        }
        (self.order.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
        return report


def _refused(idea: str, proposal: Proposal) -> Round:
    return Round(idea=idea, status=proposal.status, hypothesis=proposal.hypothesis, detail=proposal.detail)


def _summary(made: Round, researcher: str) -> IdeaSummary:
    """An earlier round as a researcher sees it: agreement on the development set as its score."""
    verify = made.score.verify if made.score else None
    return IdeaSummary(
        idea=made.idea,
        parent=None if made.idea == "B0" else "B0",
        family="build",
        mutation={},
        hypothesis=made.hypothesis,
        status=IterationStatus.DECIDED if made.score else IterationStatus.NO_CHANGE,
        decision=(Decision.KEEP if made.kept else Decision.REVERT) if made.score else None,
        n=verify.n if verify else 0,
        successes=verify.true_positives + verify.true_negatives if verify else 0,
        mean_score=verify.agreement if verify else None,
        failures=made.score.failures if made.score else {},
        researcher=researcher,
    )
