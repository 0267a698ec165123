"""What a reset check has measured so far: one JSON line a reset in a file, so that a long check outlives its process.

A check that is started again with the same file does only the resets that are missing in it. Lines of another
environment, profile or version of the frozen code are refused: figures of different things are never mixed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from nightlab.errors import UsageError
from nightlab.records import ResetReport
from nightlab.records.base import Record


class CheckedReset(Record):
    """One reset that was checked, or the station's fault that kept it from ending."""

    environment: str
    profile: str
    version: str
    """Of the environment's frozen files, see `version_of`."""
    station_seed: int | None
    seed: int
    report: ResetReport | None = None
    """None: a station fault."""
    truth: dict[str, float] = Field(default_factory=dict)
    left: str = ""
    """What the rehearsal before it did; empty: a fresh scene."""
    fault: str = ""

    @property
    def success(self) -> bool:
        """Whether the environment says that the start was reached."""
        return self.report is not None and self.report.success


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: results of two of them are never mixed."""

    environment: str
    profile: str
    version: str


def version_of(environment: str) -> str:
    """sha256 over the hashes of an environment's frozen files as they are now."""
    from environments.manifest import current

    return hashlib.sha256(json.dumps(dict(current(environment)), sort_keys=True).encode()).hexdigest()


class ResetRecord:
    """The file. `path` None keeps nothing.

    Raises:
        UsageError: the file is not such a record, or one of something else.
    """

    def __init__(self, path: Path | None, subject: Subject) -> None:
        self.subject = subject
        self.checked: list[CheckedReset] = []
        self._path = path
        if path is not None and path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            self.checked = [_read(line, path, number, subject) for number, line in enumerate(lines, start=1)]

    def add(self, checked: CheckedReset) -> None:
        """Keep a reset."""
        self.checked.append(checked)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(checked.model_dump_json() + "\n")

    def missing(self, seeds: Iterable[int]) -> list[int]:
        """The seeds that were not checked yet."""
        known = {one.seed for one in self.checked}
        return [seed for seed in seeds if seed not in known]

    def of(self, seeds: Iterable[int]) -> list[CheckedReset]:
        """What was checked of these seeds."""
        wanted = set(seeds)
        return [one for one in self.checked if one.seed in wanted]


def _read(line: str, path: Path, number: int, subject: Subject) -> CheckedReset:
    try:
        found = CheckedReset.model_validate_json(line)
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        raise UsageError(f"{path}, line {number} is no checked reset ({what}). Try: another --record") from error
    for what in ("environment", "profile", "version"):
        theirs, ours = getattr(found, what), getattr(subject, what)
        if theirs != ours:
            raise UsageError(
                f"{path} holds resets of {what} {theirs[:12]!r}, asked is {ours[:12]!r}: figures of both would be of "
                "neither. Try: another --record"
            )
    return found
