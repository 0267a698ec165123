"""Labels that a person gives to recorded episodes: a folder of pictures with a list to fill in, and the way back."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import TYPE_CHECKING, Final

from data.episodes import read_evidence
from data.lab import Lab
from data.ledger import LedgerReader
from nightlab.errors import LabError, UsageError
from nightlab.records import EpisodeRecord
from nightlab.seeding import derive

if TYPE_CHECKING:
    from environments.workbench.labelled import SetWriter, Split

LIST: Final = "answers.csv"
COLUMNS: Final = ("episode", "label", "note")
YES: Final = ("success", "s", "yes", "y", "1")
NO: Final = ("failure", "f", "no", "n", "0")


def episodes_of(lab: Lab, environment: str, campaign: str = "") -> list[EpisodeRecord]:
    """Recorded episodes of an environment, in the ledger's order."""
    events = LedgerReader(lab.ledger_path).events(campaign=campaign, kind="episode")
    records = [EpisodeRecord.model_validate(event.data) for event in events]
    return [record for record in records if record.environment == environment]


def write_sheet(place: Path, environment: str, campaign: str, n: int, folder: Path) -> tuple[Path, int]:
    """Pictures of up to `n` episodes (last frame of each camera) and a list to fill in, without the verdicts.

    Half of them are drawn from episodes that the verifier called a success, so that both kinds are there.
    """
    lab = Lab.open(place)
    records = episodes_of(lab, environment, campaign)
    if not records:
        raise LabError(f"no episode of {environment} in {lab.path}; record some: nightlab run {environment}")
    path = folder / LIST
    if path.exists():
        raise UsageError(
            f"there is a list at {path} already; use it with --answers, or name another folder: --sheet DIR"
        )
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(derive("sheet", str(lab.path), campaign))
    good = [record for record in records if record.verdict.outcome.value == "success"]
    bad = [record for record in records if record.verdict.outcome.value != "success"]
    picked = draw.sample(good, min(len(good), max(n // 2, n - len(bad))))
    picked += draw.sample(bad, min(len(bad), n - len(picked)))
    draw.shuffle(picked)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(COLUMNS)
        for record in picked:
            name = record.key.text()
            stored = read_evidence(lab, record.key)
            last = {
                camera: png
                for camera, png in zip(stored.cameras or [""] * len(stored.frames_png), stored.frames_png, strict=True)
            }
            for camera, png in last.items():
                (folder / f"{name}{'-' + camera if camera else ''}.png").write_bytes(png)
            out.writerow([name, "", ""])
    return path, len(picked)


def from_answers(place: Path, environment: str, answers: Path, writers: dict[Split, SetWriter]) -> None:
    """Put the answered episodes into the sets, in turn. Rows without a label are left out.

    Raises:
        UsageError: the list cannot be read, or names episodes or labels that there are not.
    """
    lab = Lab.open(place)
    records = {record.key.text(): record for record in episodes_of(lab, environment)}
    turn = 0
    for name, said, note in _rows(answers):
        if name not in records:
            raise UsageError(
                f"{answers}: no episode {name!r} of {environment} in {lab.path}; keep the first column as it was"
            )
        if said not in (*YES, *NO):
            raise UsageError(f"{answers}: label {said!r} of {name}; write success or failure, or leave it empty")
        writer = list(writers.values())[turn % len(writers)]
        turn += 1
        record = records[name]
        writer.add(
            read_evidence(lab, record.key),
            success=said in YES,
            start=record.reset.achieved,
            source=f"{lab.path.name}:{name}",
            note=note,
        )
    if not turn:
        raise UsageError(f"{answers} holds no label; fill in its second column with success or failure")


def _rows(path: Path) -> list[tuple[str, str, str]]:
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        found = [
            (row["episode"].strip(), row["label"].strip().lower(), (row.get("note") or "").strip()) for row in rows
        ]
    except (OSError, KeyError, AttributeError, csv.Error) as error:
        raise UsageError(f"{path} is no list of answers with the columns {', '.join(COLUMNS)} ({error})") from error
    return [row for row in found if row[1]]
