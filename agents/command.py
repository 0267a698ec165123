"""A researcher that is any program: it edits the workspace and exits. It runs in the sandbox, without network.

The program starts in the workspace. It finds `.nightlab/prompt.md` and `.nightlab/context.json` there (what was tried,
what failed, passages; no seeds), edits `policy.py`, `train.py`, `params.yaml` or `notes.md`, and may leave a
`proposal.json`:

    {"hypothesis": "…", "falsified_if": "…", "expected_effect": "…", "family": "…", "mutation": {…},
     "inspired_by": ["I3"], "sources": ["arXiv:…"], "usage": {"input_tokens": 1200, "output_tokens": 90}}

Whether it proposed something is judged by the diff alone, never by its exit code. What else it leaves is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents import prompt, surface
from agents.recipe import peek_recipe
from agents.workspace import EDITABLE, WorkspaceError, diff, read_text, snapshot
from nightlab.errors import UsageError
from nightlab.processes import kill_group, spawn_async, until_stopped
from nightlab.records import Proposal, ProposalContext, ProposalStatus, Usage
from nightlab.sandbox import Limits, Sandbox

BUDGET_S = 900.0
"""Wall seconds for one proposal, unless the campaign has less left."""
LOG_BYTES = 64 * 1024
"""How much of the program's output is kept; the rest is read and dropped."""
MOUNT = "/workspace"
_MOUNTED = ("/usr", sys.prefix, sys.base_prefix)
"""What every sandbox holds anyway."""


class Claim(BaseModel):
    """`proposal.json`: what the program says of its own change."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    hypothesis: str = Field(default="", max_length=2000)
    falsified_if: str = Field(default="", max_length=2000)
    expected_effect: str = Field(default="", max_length=2000)
    family: str = Field(default="other", max_length=100)
    mutation: dict[str, Any] = {}
    inspired_by: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    usage: Usage = Usage()


class CommandResearcher:
    """Implements `nightlab.contracts.Researcher` with a program and its arguments."""

    name = "command"

    def __init__(self, argv: list[str], *, budget_s: float = BUDGET_S, sandbox: Sandbox | None = None) -> None:
        self.argv = argv
        self.budget_s = budget_s
        self._sandbox = sandbox

    @classmethod
    def parse(cls, line: str) -> CommandResearcher:
        """From a command line as a shell would split it; relative paths are taken from the current directory.

        Raises:
            UsageError: the line cannot be split, or the program does not exist.
        """
        try:
            program, *arguments = shlex.split(line)
        except ValueError as error:
            raise UsageError(f"cannot read the researcher's command {line!r}: {error}") from error
        found = shutil.which(program)
        if found is None:
            raise UsageError(f"no program {program!r} for the researcher; --researcher 'command:PROGRAM ARGS' runs one")
        return cls([str(Path(found).absolute()), *map(_absolute, arguments)])

    async def propose(self, context: ProposalContext) -> Proposal:
        """Run the program on the workspace, at most `budget_s`; its process group ends with it."""
        begin_s = time.perf_counter()
        workspace = Path(context.workspace)
        sandbox = self._sandbox or Sandbox()
        editable = context.editable or EDITABLE
        before, frozen = snapshot(workspace, editable), surface.others(workspace, editable)
        prompt.write(workspace, context, sandbox.inside(workspace, MOUNT))
        left_s = self.budget_s if context.wall_left_s is None else min(self.budget_s, context.wall_left_s)
        code, log = await self._run(sandbox, workspace, left_s)
        claim, complaint = _claim(workspace)
        status, detail, change = ProposalStatus.OK, f"exit code {code}", ""
        try:
            changed = surface.clean(workspace, frozen, editable)
            change = diff(before, snapshot(workspace, editable), editable)
        except WorkspaceError as error:
            changed, detail = [str(error)], str(error)
        if changed:
            status, detail = ProposalStatus.REFUSED_FROZEN, f"changed what is not its own: {', '.join(changed)[:300]}"
        elif code is None:
            status, detail = ProposalStatus.TIMEOUT, f"no proposal within {left_s:.0f} s"
        elif not change:
            status = ProposalStatus.NO_CHANGE if code == 0 else ProposalStatus.CRASH
            detail = f"exit code {code}, nothing edited; last words: {log.strip()[-200:] or 'none'}"
        recipe = peek_recipe(workspace)
        return Proposal(
            status=status,
            researcher=self.name,
            hypothesis=claim.hypothesis or _spoken(log) or _plain(change, editable),
            falsified_if=claim.falsified_if,
            expected_effect=claim.expected_effect,
            family=claim.family,
            mutation=claim.mutation,
            params=dict(recipe.params),
            modules=dict(recipe.modules),
            parents=(context.incumbent,),
            inspired_by=claim.inspired_by,
            sources=claim.sources,
            diff=change,
            usage=claim.usage,
            detail="; ".join(filter(None, (detail, complaint))),
            wall_s=time.perf_counter() - begin_s,
        )

    async def _run(self, sandbox: Sandbox, workspace: Path, budget_s: float) -> tuple[int | None, str]:
        """Exit code (None: stopped at the deadline) and the first part of what it printed."""
        named = [Path(item) for item in self.argv if Path(item).is_absolute() and Path(item).exists()]
        argv = sandbox.wrap(
            self.argv,
            read_only=[path for path in named if not any(path.is_relative_to(have) for have in _MOUNTED)],
            read_write=[(workspace, MOUNT)],
            cwd=sandbox.inside(workspace, MOUNT),
            limits=Limits(processes=64, cpu_s=max(1, int(budget_s) + 1)),
        )
        process = await spawn_async(argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        log = bytearray()
        watch = asyncio.create_task(_end_stopped(process.pid))
        try:
            async with asyncio.timeout(budget_s):
                await _drain(process, log)
                return await process.wait(), log.decode(errors="replace")
        except TimeoutError:
            return None, log.decode(errors="replace")
        finally:
            watch.cancel()
            kill_group(process.pid)
            with contextlib.suppress(ProcessLookupError):
                await process.wait()


async def _end_stopped(pid: int) -> None:
    """Kill a program that was stopped by a signal, rather than wait for its budget."""
    await until_stopped(pid)
    kill_group(pid)


async def _drain(process: asyncio.subprocess.Process, log: bytearray) -> None:
    """Read all output, keep the first `LOG_BYTES`."""
    assert process.stdout is not None
    while chunk := await process.stdout.read(LOG_BYTES):
        log += chunk[: max(0, LOG_BYTES - len(log))]


def _claim(workspace: Path) -> tuple[Claim, str]:
    """What `proposal.json` says, and a complaint if it cannot be used."""
    path = workspace / "proposal.json"
    if not path.is_file():
        return Claim(), ""
    try:
        return Claim.model_validate_json(read_text(path)), ""
    except (WorkspaceError, ValidationError) as error:
        return Claim(), f"proposal.json not used: {str(error).splitlines()[0]}"


def _spoken(log: str) -> str:
    """The last `HYPOTHESIS: …` line of the output."""
    lines = [line.partition(":")[2].strip() for line in log.splitlines() if line.upper().startswith("HYPOTHESIS:")]
    return lines[-1][:2000] if lines else ""


def _plain(change: str, editable: tuple[str, ...]) -> str:
    """A hypothesis for a change that came without one."""
    files = [name for name in editable if f"b/{name}" in change]
    return f"The change of {', '.join(files)} helps." if files else ""


def _absolute(argument: str) -> str:
    path = Path(argument)
    return str(path.absolute()) if not argument.startswith("-") and path.exists() else argument
