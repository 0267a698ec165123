"""Labelled sets: episodes' evidence with what the verdict ought to be, from the simulator's truth or from a person.

    <operator's directory>/labels/<environment>/<set>/development/   index.json, 0001.item, …
                                                     /held_out/

All of it lies in the operator's directory (mode 0700), which no sandbox mounts. The development half may be shown to
researchers, its failures with pictures; of the held-out half only a person ever sees more than the summary.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgpack
import numpy as np

from environments import signing
from nightlab.contracts import StoredEvidence
from nightlab.errors import UsageError
from nightlab.records import Record

Split = Literal["development", "held_out"]
SPLITS: Final[tuple[Split, ...]] = ("development", "held_out")
INDEX: Final = "index.json"


class ItemNote(Record):
    """What the index says of one item."""

    item: str
    sha256: str
    success: bool
    """The label."""
    value: float | None = None
    """What the label was taken from, in the environment's unit (Push-T: coverage); None: a person's judgement."""
    source: str
    """`simulator <profile> station <seed>` or `<lab>:<episode>`."""
    note: str = ""


class SetIndex(Record):
    """A labelled set."""

    environment: str
    name: str
    split: Split
    band: tuple[float, float] | None = None
    """The guard band of `value`: between these, a verdict may go either way."""
    created_wall_s: float
    items: tuple[ItemNote, ...] = ()

    @property
    def sha256(self) -> str:
        """Names the set's exact content: over the items' hashes and labels."""
        lines = "".join(f"{note.sha256} {note.item} {int(note.success)}\n" for note in self.items)
        return hashlib.sha256(lines.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled episode."""

    note: ItemNote
    evidence: StoredEvidence
    start: dict[str, float]
    faults: tuple[str, ...] = ()


class LabelledSet:
    """A labelled set on disk."""

    def __init__(self, folder: Path, index: SetIndex) -> None:
        self.folder = folder
        self.index = index

    def __len__(self) -> int:
        return len(self.index.items)

    def __iter__(self) -> Iterator[Item]:
        for note in self.index.items:
            yield self.item(note)

    def item(self, note: ItemNote) -> Item:
        """One item. Raises UsageError if its file was changed."""
        path = self.folder / f"{note.item}.item"
        try:
            blob = path.read_bytes()
        except OSError as error:
            raise UsageError(f"item {note.item} of {self.folder} is gone ({error.strerror}); label anew") from error
        if hashlib.sha256(blob).hexdigest() != note.sha256:
            raise UsageError(f"item {path} was changed after it was labelled; label anew: nightlab verifier label")
        body = msgpack.unpackb(blob)
        stored = StoredEvidence(
            frames_png=[body["pngs"][number] for number in body["frames"]],
            observations=[
                {key: np.array(value, np.float64) for key, value in row.items()} for row in body["observations"]
            ],
            cameras=body["cameras"],
            seqs=body["seqs"],
            depths_png=[body["pngs"][number] for number in body["depths"]],
            measures=body["measures"],
        )
        return Item(note, stored, body["start"], tuple(body["faults"]))


class SetWriter:
    """Makes a labelled set item by item; it exists once `finish` was called."""

    def __init__(
        self, folder: Path, environment: str, name: str, split: Split, band: tuple[float, float] | None
    ) -> None:
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(
                f"there is a labelled set at {folder} already; name another with --set NAME, or remove it: rm -r {folder}"
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.folder = folder
        self._head = (environment, name, split, band)
        self.notes: list[ItemNote] = []

    def add(
        self,
        stored: StoredEvidence,
        *,
        success: bool,
        source: str,
        value: float | None = None,
        start: dict[str, float] | None = None,
        faults: Sequence[str] = (),
        note: str = "",
    ) -> ItemNote:
        """Write one item; equal pictures are kept once."""
        pngs: dict[bytes, int] = {}
        body: dict[str, Any] = {
            "frames": [pngs.setdefault(png, len(pngs)) for png in stored.frames_png],
            "depths": [pngs.setdefault(png, len(pngs)) for png in stored.depths_png],
            "cameras": list(stored.cameras),
            "seqs": [int(seq) for seq in stored.seqs],
            "observations": [
                {key: np.asarray(value).tolist() for key, value in row.items()} for row in stored.observations
            ],
            "measures": dict(stored.measures),
            "start": dict(start or {}),
            "faults": list(faults),
        }
        blob: bytes = msgpack.packb({**body, "pngs": list(pngs)})
        item = f"{len(self.notes) + 1:04d}"
        descriptor = os.open(self.folder / f"{item}.item", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(blob)
        sha256 = hashlib.sha256(blob).hexdigest()
        made = ItemNote(item=item, sha256=sha256, success=success, value=value, source=source, note=note)
        self.notes.append(made)
        return made

    def finish(self, wall_s: float) -> LabelledSet:
        """Write the index."""
        environment, name, split, band = self._head
        index = SetIndex(
            environment=environment,
            name=name,
            split=split,
            band=band,
            created_wall_s=wall_s,
            items=tuple(self.notes),
        )
        path = self.folder / INDEX
        path.touch(mode=0o600)
        path.write_text(index.model_dump_json(indent=1))
        return LabelledSet(self.folder, index)


def folder_of(environment: str, name: str, split: Split) -> Path:
    """Where a labelled set lies; made with mode 0700 as far as it is missing."""
    if split not in SPLITS:
        raise UsageError.unknown("split", split, SPLITS, "--split held_out")
    return signing.private_folder("labels", environment, name) / split


def open_set(environment: str, name: str, split: Split) -> LabelledSet:
    """A labelled set. Raises UsageError if there is none; the message names those there are."""
    folder = folder_of(environment, name, split)
    try:
        return LabelledSet(folder, SetIndex.model_validate_json((folder / INDEX).read_text()))
    except (OSError, ValueError) as error:
        there = [path.name for path in folder.parent.parent.iterdir() if any(path.glob(f"*/{INDEX}"))]
        raise UsageError.unknown(
            f"labelled set ({split}) of {environment}", name, there, f"nightlab verifier label {environment}"
        ) from error


def exists(environment: str, name: str, split: Split) -> bool:
    """Whether there is such a set."""
    return (signing.operator_dir() / "labels" / environment / name / split / INDEX).is_file()


def dump(index: SetIndex) -> str:
    """An index's summary as one line of JSON: no items."""
    labels = [note.success for note in index.items]
    summary = {
        "environment": index.environment,
        "set": index.name,
        "split": index.split,
        "n": len(labels),
        "successes": sum(labels),
        "sha256": index.sha256,
    }
    return json.dumps(summary)
