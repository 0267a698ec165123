"""Git of a lab, written by the keeper alone and without ever checking anything out.

Branch `lab` (checked out) tells the story: one commit per iteration, a merge for every idea that was kept. Ideas live
on `refs/ideas/I17`, so that every attempt stays reachable; `research/<researcher>` points at what a researcher builds
on. Idea commits are built from bytes with `git fast-import`: nothing an agent wrote is ever run, filtered or hooked.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from nightlab.errors import LabError

BRANCH = "lab"
KEEPER = "nightlab keeper <keeper@nightlab.invalid>"
IDEAS = "refs/ideas/"
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "commit.gpgSign": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "core.fsync": "committed",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.autocrlf": "false",
    "user.name": "nightlab keeper",
    "user.email": "keeper@nightlab.invalid",
    "advice.detachedHead": "false",
}
_TIMEOUT_S = 60.0
_POLITE = ("nice", "-n", "10") if shutil.which("nice") else ()
"""Git never competes with the robots."""


class LabGit:
    """Git commands on one lab. Not thread-safe as far as branch `lab` and its index are concerned."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        """Run git in the lab, free of the user's and the machine's git settings.

        Raises:
            LabError: git failed; the message carries what it said.
        """
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        environment |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "LC_ALL": "C"}
        environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_COUNT": str(len(_SETTINGS))}
        for number, (key, value) in enumerate(_SETTINGS.items()):
            environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        try:
            done = subprocess.run(
                [*_POLITE, "git", "-C", str(self.path), *arguments],
                input=stdin if stdin is not None else b"",
                capture_output=True,
                env=environment,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LabError(
                f"git {arguments[0]} in {self.path}: {error}. Check that git is installed: nightlab doctor"
            ) from error
        if done.returncode != 0:
            said = " ".join(done.stderr.decode(errors="replace").split())[-600:].rstrip(".")
            raise LabError(
                f"git {arguments[0]} in {self.path} failed: {said}. Look at it with: git -C {self.path} status"
            )
        return done.stdout

    def init(self, paths: Sequence[str], message: str) -> str:
        """Make the repository with branch `lab` and a first commit of `paths`."""
        self.run("init", "-q", "-b", BRANCH)
        return self.commit_paths(paths, message)

    def check(self) -> None:
        """Raise LabError unless this is a git repository with branch `lab`."""
        try:
            self.run("rev-parse", "-q", "--verify", f"refs/heads/{BRANCH}^{{commit}}")
        except LabError as error:
            raise LabError(
                f"the git repository of the lab {self.path} is broken: {error}. "
                f"Restore .git from a copy, or start a new lab: nightlab up --lab NEWDIR"
            ) from error

    def mend(self) -> None:
        """After a crash: remove locks that a killed git left behind and bring the index back to branch `lab`."""
        git = self.path / ".git"
        for lock in (git / "index.lock", git / "HEAD.lock", git / "packed-refs.lock", *git.glob("refs/**/*.lock")):
            with contextlib.suppress(FileNotFoundError):
                lock.unlink()
        head = self.run("symbolic-ref", "--short", "HEAD").decode().strip()
        if head != BRANCH:
            raise LabError(
                f"the lab {self.path} has branch {head!r} checked out; the keeper writes branch {BRANCH!r}. "
                f"Go back with: git -C {self.path} switch {BRANCH}"
            )
        self.run("reset", "-q", "--mixed", BRANCH)

    # Branch `lab` ------------------------------------------------------------------------------------------------

    def commit_paths(self, paths: Sequence[str], message: str, *, merge: str = "") -> str:
        """Commit files of the working tree on branch `lab`, with `merge` as a merge of that commit; returns the hash.

        Nothing to commit and nothing to merge returns the present commit.
        """
        self.run("add", "-f", "--", *paths)
        tree = self.run("write-tree").decode().strip()
        head = self.resolve(f"refs/heads/{BRANCH}")
        if head is not None and tree == self.run("rev-parse", f"{head}^{{tree}}").decode().strip() and not merge:
            return head
        parents = [parent for parent in (head, merge) if parent]
        arguments = [word for parent in parents for word in ("-p", parent)]
        commit = self.run("commit-tree", tree, *arguments, stdin=message.encode()).decode().strip()
        self.run("update-ref", f"refs/heads/{BRANCH}", commit, *([head] if head else []))
        return commit

    def tracked(self, folder: str) -> set[str]:
        """Paths under `folder` on branch `lab`."""
        out = self.run("ls-tree", "-r", "--name-only", "-z", BRANCH, "--", f"{folder}/")
        return {name.decode() for name in out.split(b"\0") if name}

    def status(self) -> str:
        """`git status --porcelain`: empty when clean."""
        return self.run("status", "--porcelain").decode()

    def merged(self, commit: str) -> bool:
        """True if branch `lab` contains the commit."""
        try:
            self.run("merge-base", "--is-ancestor", commit, BRANCH)
        except LabError:
            return False
        return True

    # Ideas -------------------------------------------------------------------------------------------------------

    def resolve(self, name: str) -> str | None:
        """The commit that a ref or hash names, or None."""
        try:
            return self.run("rev-parse", "-q", "--verify", f"{name}^{{commit}}").decode().strip() or None
        except LabError:
            return None

    def commit_idea(
        self, idea: str, files: Mapping[str, bytes], message: str, *, parents: Sequence[str], author: str
    ) -> str:
        """Make the commit of an idea under `refs/ideas/<idea>` and return its hash.

        Args:
            idea: `I17`.
            files: path in the lab → content; everything else stays as in the first parent.
            message: with its trailers.
            parents: hashes, the one that the files change first.
            author: name of the researcher.
        """
        who = f"{clean_name(author)} <{clean_name(author)}@nightlab.invalid>"
        now = f"{int(time.time())} +0000"
        out = io.BytesIO()
        out.write(
            f"feature done\ncommit {IDEAS}{idea}\nmark :1\nauthor {who} {now}\ncommitter {KEEPER} {now}\n".encode()
        )
        _data(out, message.encode())
        for word, parent in zip(("from", *["merge"] * len(parents)), parents, strict=False):
            out.write(f"{word} {parent}\n".encode())
        for path, content in sorted(files.items()):
            out.write(f"M 100644 inline {path}\n".encode())
            _data(out, content)
        out.write(b"\nget-mark :1\ndone\n")
        commit = self.run("fast-import", "--quiet", "--force", "--done", stdin=out.getvalue()).decode().strip()
        if not re.fullmatch(r"[0-9a-f]{40,64}", commit):
            raise LabError(
                f"git fast-import made no commit for {idea} in {self.path}: {commit[:200]!r}. See: nightlab doctor"
            )
        return commit

    def set_branch(self, branch: str, commit: str) -> None:
        """Point a branch other than `lab` at a commit."""
        self.run("update-ref", f"refs/heads/{branch}", commit)

    def files(self, commit: str, folder: str) -> dict[str, bytes]:
        """The regular files directly in `folder` of a commit: name → content."""
        archive = self.run("archive", "--format=tar", f"{commit}:{folder}")
        found: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar.getmembers():
                file = tar.extractfile(member) if member.isfile() and "/" not in member.name else None
                if file is not None:
                    found[member.name] = file.read()
        return found


def clean_name(text: str) -> str:
    """A researcher's or branch's name that git accepts: `scripted:ideas.yaml` → `scripted`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text.split(":", 1)[0]).strip("-.") or "researcher"


def one_line(text: str, most: int = 500) -> str:
    """Text on one line, for trailers; so nobody can write a trailer of his own through a hypothesis."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def _data(out: io.BytesIO, content: bytes) -> None:
    out.write(f"data {len(content)}\n".encode())
    out.write(content)
    out.write(b"\n")
