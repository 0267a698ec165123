"""Workspaces and idea commits: what a researcher gets, what the keeper takes back, and the words of the commit."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from data.lab import EDITABLE, Lab
from data.lab_git import IDEAS, LabGit, clean_name, one_line
from nightlab.errors import LabError, TamperError, UsageError
from nightlab.records import Idea, Proposal, Usage

FILE_MAX_BYTES = 256 * 1024
"""Largest file of an idea."""
IGNORED = frozenset({".nightlab", "__pycache__", "proposal.json", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
"""What may lie in a workspace without entering the commit."""


def branch_of(researcher: str) -> str:
    """The branch that a researcher builds on."""
    return f"research/{clean_name(researcher)}"


class IdeaStore:
    """Ideas of one lab as git holds them."""

    def __init__(self, lab: Lab, git: LabGit) -> None:
        self.lab = lab
        self.git = git

    def commit_of(self, idea: str) -> str:
        """The commit of an idea.

        Raises:
            UsageError: git has no such idea.
        """
        commit = self.git.resolve(f"{IDEAS}{idea}")
        if commit is None:
            known = self.git.run("for-each-ref", "--format=%(refname:lstrip=2)", IDEAS).decode().split()
            raise UsageError.unknown("idea", idea, known, "nightlab tree")
        return commit

    def open_workspace(self, iteration: str, parent: str, environment: str) -> Path:
        """A fresh plain copy of the parent idea's files at `worktrees/<iteration>`."""
        files = self.git.files(self.commit_of(parent), f"research/{environment}")
        return _export(self.lab.worktrees_dir / iteration, files, mode=0o644, anew=True)

    def export(self, idea: str, environment: str) -> Path:
        """The idea's files, read-only, at `worktrees/code/<idea>`; made once.

        Raises:
            TamperError: they are there already and differ from the idea's commit.
        """
        target = self.lab.worktrees_dir / "code" / idea
        files = self.git.files(self.commit_of(idea), f"research/{environment}")
        if target.is_dir():
            return _unchanged(target, files, idea)
        return _export(target, files, mode=0o444, anew=False)

    def commit(
        self, idea: str, proposal: Proposal, files: Mapping[str, bytes], *, parent: str | None, environment: str
    ) -> Idea:
        """Commit `files` (name → content) as an idea on top of its parent, or of the lab's first commit."""
        parents = [self.commit_of(parent)] if parent else [self.first_commit()]
        parents += [self.commit_of(other) for other in proposal.parents[1:] if other != parent]
        commit = self.git.commit_idea(
            idea,
            {f"research/{environment}/{name}": content for name, content in files.items()},
            message(idea, parent, proposal),
            parents=parents,
            author=proposal.researcher,
        )
        return Idea(idea=idea, commit=commit, parent=parent, branch=branch_of(proposal.researcher), proposal=proposal)

    def first_commit(self) -> str:
        """The lab's first commit: the workspace template."""
        return self.git.run("rev-list", "--max-parents=0", "--first-parent", "lab").decode().split()[0]


def read_workspace(workspace: Path, *, all_needed: bool = True) -> dict[str, bytes]:
    """The editable files of a workspace, read without following anything an agent may have laid out.

    Raises:
        UsageError: a file is missing, a link, too large, or not one that researchers edit.
    """
    found: dict[str, bytes] = {}
    try:
        names = sorted(entry.name for entry in os.scandir(workspace))
    except OSError as error:
        raise UsageError(f"no workspace at {workspace}: {error.strerror}. Replay the iteration from propose") from error
    for name in names:
        if name in IGNORED:
            continue
        if name not in EDITABLE:
            raise UsageError(
                f"{name!r} is not a file that researchers edit; there are: {', '.join(EDITABLE)}. "
                f"Remove it from {workspace}"
            )
        found[name] = _read_plain(workspace / name)
    missing = [name for name in EDITABLE if name not in found]
    if missing and all_needed:
        raise UsageError(f"the workspace {workspace} lacks {', '.join(missing)}; an idea needs {', '.join(EDITABLE)}")
    return found


def message(idea: str, parent: str | None, proposal: Proposal) -> str:
    """The commit message of an idea, with trailers that the idea tree is drawn from."""
    hypothesis = one_line(proposal.hypothesis) or "no hypothesis given"
    body = [f"{idea}: {one_line(hypothesis, 66)}", ""]
    if proposal.expected_effect:
        body += [f"Expected: {one_line(proposal.expected_effect)}", ""]
    if proposal.sources:
        body += [f"After: {one_line('; '.join(proposal.sources))}", ""]
    trailers = [
        ("Idea", idea),
        ("Hypothesis", hypothesis),
        ("Falsified-if", one_line(proposal.falsified_if) or "not said"),
    ]
    trailers += [("Parent", parent)] if parent else []
    trailers += [("Inspired-by", one_line(other, 80)) for other in proposal.inspired_by]
    trailers += [("Family", one_line(proposal.family, 80)), ("Researcher", one_line(proposal.researcher, 80))]
    trailers += [("Tokens", _tokens(proposal.usage))]
    return "\n".join([*body, *(f"{name}: {value}" for name, value in trailers)]) + "\n"


def _tokens(usage: Usage) -> str:
    if usage.input_tokens is None and usage.output_tokens is None:
        return "not reported"
    return f"{usage.input_tokens or 0} in ({usage.cached_tokens or 0} cached), {usage.output_tokens or 0} out"


def _read_plain(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise UsageError(
            f"{path.name!r} in {path.parent} is a link or unreadable ({error.strerror}); an idea has plain files only"
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > FILE_MAX_BYTES:
            raise UsageError(
                f"{path.name!r} in {path.parent} has {status.st_size} bytes or is no plain file; "
                f"an idea's file has at most {FILE_MAX_BYTES} bytes"
            )
        content = bytearray()
        while part := os.read(descriptor, FILE_MAX_BYTES + 1 - len(content)):
            content += part
        if len(content) > FILE_MAX_BYTES:
            raise UsageError(f"{path.name!r} in {path.parent} grew above {FILE_MAX_BYTES} bytes while it was read")
        return bytes(content)
    finally:
        os.close(descriptor)


def _unchanged(target: Path, files: Mapping[str, bytes], idea: str) -> Path:
    """The export at `target`, if it holds exactly `files`."""
    found = {entry.name for entry in os.scandir(target)} - {"__pycache__"}
    differing = sorted(found ^ set(files))
    for name in sorted(found & set(files)):
        path = target / name
        if path.is_symlink() or path.read_bytes() != files[name]:
            differing.append(name)
    if differing:
        raise TamperError(
            f"the code of {idea} was changed after its commit: {', '.join(differing)} in {target}. "
            f"Remove that folder; it is made again from git"
        )
    return target


def _export(target: Path, files: Mapping[str, bytes], *, mode: int, anew: bool) -> Path:
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, content in files.items():
        (partial / name).write_bytes(content)
        (partial / name).chmod(mode)
    if anew:
        shutil.rmtree(target, ignore_errors=True)
    try:
        partial.rename(target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if anew or not target.is_dir():
            raise LabError(f"cannot write {target}: {error.strerror}. Check the disk: nightlab doctor") from error
    return target
