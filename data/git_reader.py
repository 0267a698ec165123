"""The idea tree as git holds it: commits under `refs/ideas/` and their trailers. Reads only, without the keeper."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from data.lab_git import IDEAS, LabGit


@dataclass(frozen=True, slots=True)
class GitIdea:
    """One idea, from its commit alone."""

    idea: str
    commit: str
    git_parents: tuple[str, ...]
    wall_s: float
    """When the researcher's commit was made."""
    parent: str | None
    inspired_by: tuple[str, ...]
    hypothesis: str
    falsified_if: str
    family: str
    researcher: str
    tokens: str
    kept: bool
    """True if branch `lab` contains it: it was merged when it was kept."""


def trailers(message: str) -> dict[str, list[str]]:
    """Trailers of a commit message: the `Name: value` lines of its last paragraph."""
    found: dict[str, list[str]] = {}
    for line in message.strip().rsplit("\n\n", 1)[-1].splitlines():
        match = re.fullmatch(r"([A-Z][A-Za-z-]*): (.*)", line)
        if match:
            found.setdefault(match[1], []).append(match[2].strip())
    return found


def read_ideas(lab: Path) -> list[GitIdea]:
    """Every idea of the lab, kept or not, in the order they were committed.

    Raises:
        LabError: the lab's git repository cannot be read.
    """
    git = LabGit(lab)
    form = "%(refname:lstrip=2)%00%(objectname)%00%(parent)%00%(authordate:unix)%00%(contents)%00%01"
    out = git.run("for-each-ref", f"--format={form}", IDEAS).decode(errors="replace")
    kept = set(git.run("rev-list", "lab").decode().split())
    ideas = [_idea(entry.lstrip("\n"), kept) for entry in out.split("\x01") if entry.strip()]
    return sorted(ideas, key=lambda idea: (idea.wall_s, _number(idea.idea)))


def log(lab: Path, most: int = 200) -> list[str]:
    """Subjects of branch `lab`, newest first, main line only: the story of the lab."""
    out = LabGit(lab).run("log", "--first-parent", f"-{most}", "--format=%s", "lab").decode(errors="replace")
    return out.splitlines()


def _idea(entry: str, kept: set[str]) -> GitIdea:
    name, commit, parents, wall_s, message = entry.split("\0")[:5]
    said = trailers(message)

    def one(trailer: str) -> str:
        return said.get(trailer, [""])[-1]

    return GitIdea(
        idea=name,
        commit=commit,
        git_parents=tuple(parents.split()),
        wall_s=float(wall_s or 0),
        parent=one("Parent") or None,
        inspired_by=tuple(said.get("Inspired-by", ())),
        hypothesis=one("Hypothesis"),
        falsified_if=one("Falsified-if"),
        family=one("Family"),
        researcher=one("Researcher"),
        tokens=one("Tokens"),
        kept=commit in kept,
    )


def _number(idea: str) -> tuple[int, str]:
    match = re.search(r"\d+", idea)
    return (int(match[0]) if match else 0, idea)
