"""The spool: one checksummed file per finished episode, until the recorder has put it into a shard.

An episode is durable once its file is whole. The ledger row follows; if the keeper dies in between, the next keeper
takes the row from the file (`adopt`). A torn file (only a power cut or a full disk can make one) goes to `spool/torn`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from data import episodes
from nightlab.errors import LabError
from nightlab.records import EpisodeRecord

SUFFIX = ".episode"


class Spool:
    """The files of a lab's spool folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.torn = folder / "torn"

    def path(self, name: str) -> Path:
        """The file of the episode `EpisodeKey.text()`."""
        return self.folder / f"{name}{SUFFIX}"

    def put(self, record: EpisodeRecord, blob: bytes) -> None:
        """Make an episode durable: written, synced, renamed."""
        episodes.write_atomic(self.path(record.key.text()), blob)

    def of(self, campaign: str, iteration: str) -> list[Path]:
        """The files of one iteration, in a fixed order."""
        return sorted(self.folder.glob(f"{campaign}-{iteration}-*{SUFFIX}"))

    def iterations(self) -> set[tuple[str, str]]:
        """(campaign, iteration) of everything in the spool."""
        names = (path.name.split("-") for path in self.folder.glob(f"*{SUFFIX}"))
        return {(parts[0], parts[1]) for parts in names if len(parts) > 2}

    def adopt(self) -> Iterator[EpisodeRecord]:
        """Every whole episode in the spool; half-written files are removed, torn ones moved to `spool/torn`."""
        for partial in self.folder.glob(".*.part"):
            partial.unlink(missing_ok=True)
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            try:
                yield episodes.read_record(path.read_bytes(), path.name)
            except (LabError, ValueError):
                self.torn.mkdir(exist_ok=True)
                path.rename(self.torn / path.name)

    def remove(self, names: list[str]) -> None:
        """Drop episodes that are in a shard by now."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                self.path(name).unlink()
