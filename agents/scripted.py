r"""A researcher that replays given patches with declared token costs and thinking times: the tests' researcher.

The file is a list of ideas, or a mapping with `ideas` and these optional keys:

    name: scripted            # as it stands in the ledger
    repeat: false             # after the last idea: begin again, or propose nothing
    think_s: 0.0              # default thinking time; a number, or {median: 40, sigma: 0.6} for lognormal
    ideas:
      - hypothesis: pushing slower is steadier
        falsified_if: success does not rise
        family: tuning
        files: {params.yaml: "speed: 4\n"}                     # whole files
        edits: [{path: policy.py, old: "A", new: "B"}]         # or replacements of text that occurs exactly once
        usage: {input_tokens: 1200, cached_tokens: 800, output_tokens: 90}
        think_s: 2.5
        status: ok                                             # or no_change, rate_limited, timeout, crash, …

The n-th iteration of a campaign gets the n-th idea, whatever runs beside it.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.recipe import peek_recipe
from agents.workspace import EDITABLE, WorkspaceError, diff, load_yaml, snapshot, write_text
from nightlab.errors import UsageError
from nightlab.records import IdeaSummary, Proposal, ProposalContext, ProposalStatus, Usage
from nightlab.seeding import derive


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Edit(_Part):
    """Replace `old`, which occurs exactly once in the file, by `new`."""

    path: str
    old: str = Field(min_length=1)
    new: str


class ThinkTime(_Part):
    """A lognormal time: `median` in s, `sigma` of its logarithm."""

    median: float = Field(ge=0)
    sigma: float = Field(ge=0)


class ScriptedIdea(_Part):
    """One proposal to replay."""

    hypothesis: str = ""
    falsified_if: str = ""
    expected_effect: str = ""
    family: str = "other"
    mutation: dict[str, str | int | float] = {}
    files: dict[str, str] = {}
    edits: tuple[Edit, ...] = ()
    usage: Usage = Usage()
    think_s: float | ThinkTime | None = None
    status: ProposalStatus = ProposalStatus.OK
    inspired_by: tuple[str, ...] = ()


class Script(_Part):
    """A whole file of ideas."""

    ideas: tuple[ScriptedIdea, ...]
    name: str = "scripted"
    repeat: bool = False
    think_s: float | ThinkTime = 0.0


class ScriptedResearcher:
    """Implements `nightlab.contracts.Researcher`."""

    def __init__(self, script: Script, *, seed: int = 0) -> None:
        self.script = script
        self.seed = seed
        self.name = script.name

    @classmethod
    def load(cls, path: str | Path, *, seed: int = 0) -> ScriptedResearcher:
        """Read a script.

        Raises:
            UsageError: the file is missing or breaks the format.
        """
        file = Path(path)
        if not file.is_file():
            raise UsageError(f"no script {str(path)!r}; --researcher scripted:FILE.yaml names a YAML file of ideas")
        try:
            data = load_yaml(file.read_text(), file.name)
            return cls(Script.model_validate({"ideas": data} if isinstance(data, list) else data), seed=seed)
        except (ValidationError, WorkspaceError) as error:
            raise UsageError(
                f"{file.name} is not a script of ideas: {_brief(error)}; see agents/scripted.py"
            ) from error

    async def propose(self, context: ProposalContext) -> Proposal:
        """Think as long as declared, then apply the iteration's patch."""
        begin_s = time.perf_counter()
        at = ordinal(context.idea, context.ideas)
        if at >= len(self.script.ideas) and not (self.script.repeat and self.script.ideas):
            return self._ended(f"the script has {len(self.script.ideas)} ideas and all have been proposed", begin_s)
        entry = self.script.ideas[at % len(self.script.ideas)]
        await asyncio.sleep(self._think_s(entry, context.idea))
        workspace, editable = Path(context.workspace), context.editable or EDITABLE
        status, detail, change = entry.status, "", ""
        if status is ProposalStatus.OK:
            before = snapshot(workspace, editable)
            try:
                _apply(entry, workspace, before, editable)
                change = diff(before, snapshot(workspace, editable), editable)
            except WorkspaceError as error:
                status, detail = ProposalStatus.CRASH, str(error)
            if not change and status is ProposalStatus.OK:
                status, detail = ProposalStatus.NO_CHANGE, "the patch changes nothing on this parent"
        recipe = peek_recipe(workspace)
        return Proposal(
            status=status,
            researcher=self.name,
            hypothesis=entry.hypothesis,
            falsified_if=entry.falsified_if,
            expected_effect=entry.expected_effect,
            family=entry.family,
            mutation=entry.mutation or {"script": at},
            params=dict(recipe.params),
            modules=dict(recipe.modules),
            parents=(context.incumbent,),
            inspired_by=entry.inspired_by,
            diff=change,
            usage=entry.usage,
            detail=detail,
            wall_s=time.perf_counter() - begin_s,
        )

    def _think_s(self, entry: ScriptedIdea, idea: str) -> float:
        think = self.script.think_s if entry.think_s is None else entry.think_s
        if isinstance(think, ThinkTime):
            noise = random.Random(derive(self.seed, "think", idea)).gauss(0.0, think.sigma)
            return think.median * math.exp(noise)
        return think

    def _ended(self, detail: str, begin_s: float) -> Proposal:
        wall_s = time.perf_counter() - begin_s
        return Proposal(status=ProposalStatus.NO_CHANGE, researcher=self.name, detail=detail, wall_s=wall_s)


def ordinal(idea: str, ideas: tuple[IdeaSummary, ...]) -> int:
    """Place of an idea in its campaign, from 0: its number less that of the campaign's baseline, less one."""
    baseline = min((_number(known.idea) for known in ideas if known.parent is None and known.n), default=0)
    return max(0, _number(idea) - baseline - 1)


def _number(idea: str) -> int:
    found = re.match(r"[A-Za-z]*(\d+)", idea)
    return int(found.group(1)) if found else 0


def _apply(entry: ScriptedIdea, workspace: Path, before: dict[str, str], editable: tuple[str, ...]) -> None:
    """Write the entry's files and edits; nothing outside the edit surface."""
    after = dict(before)
    for path in [*entry.files, *(edit.path for edit in entry.edits)]:
        if path not in editable:
            raise WorkspaceError(f"the script edits {path!r}; a researcher may edit {', '.join(editable)}")
    after.update(entry.files)
    for edit in entry.edits:
        count = after.get(edit.path, "").count(edit.old)
        if count != 1:
            raise WorkspaceError(f"the script's edit of {edit.path} fits {count} places, not 1: {edit.old[:60]!r}")
        after[edit.path] = after[edit.path].replace(edit.old, edit.new)
    for path, text in after.items():
        if before.get(path) != text:
            write_text(workspace / path, text)


def _brief(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error)
