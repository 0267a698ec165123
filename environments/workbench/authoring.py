"""The workspace in which a researcher authors reset and verify: copies to edit, the rest to read, its failures to study."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from environments.manifest import PROJECT, manifest_path
from environments.workbench.labelled import LabelledSet
from environments.workbench.resets import ResetScore
from environments.workbench.scores import Miss, Scores
from nightlab.errors import UsageError

AUTHORED: Final = ("reset.py", "verify.py", "vision.py")
"""What a researcher may write, as far as the environment has it; thresholds, starts and limits are not its own."""
SECRET: Final = ("truth.py", "exam.py")
"""How labels are made: no business of who writes the verifier."""
SHOWN: Final = 20
"""Failures shown with pictures."""
CONTRACT: Final = """\
`verify.py` holds the class that `make_verifier(sha256)` of the package makes: `verify(evidence) -> Verdict`, a pure
function of frames and sensors. `reset.py` brings the station to the start of a seed and proves it by its sensors; it
never sees the truth. Keep the names that the other files here import. Everything else (spec.py, start.py, limits.py,
reference/contracts.py) is to be read. `development/` holds your scores and your failures on the labelled development
set, with pictures; another, held-out set decides in the end. No network."""


def fill(workspace: Path, environment: str, editable: Sequence[str], source: Path | None) -> None:
    """Make the workspace: the environment's own files, those of `source` in their place, and the contracts."""
    home = manifest_path(environment).parent
    workspace.mkdir(parents=True, exist_ok=True)
    for path in [*sorted(home.glob("*.py")), *sorted(home.glob("*.yaml")), home / "README.md"]:
        if path.is_file() and path.name not in SECRET:
            shutil.copyfile(path, workspace / path.name)
    (workspace / "reference").mkdir(exist_ok=True)
    shutil.copyfile(PROJECT / "nightlab" / "contracts.py", workspace / "reference" / "contracts.py")
    (workspace / "notes.md").write_text(f"# Notes on reset and verify of {environment}\n")
    for path in sorted(source.glob("*")) if source else ():
        if path.name not in editable or path.is_symlink():
            raise UsageError(f"{path} cannot be built; a folder to begin with holds: {', '.join(editable)}")
        shutil.copyfile(path, workspace / path.name)
    (workspace / "development").mkdir(exist_ok=True)


def show_failures(
    workspace: Path, development: LabelledSet, scores: Scores | None, misses: Sequence[Miss], reset: ResetScore | None
) -> None:
    """Replace `development/`: scores.json, failures.json and the first and last picture of each camera of a failure."""
    folder = workspace / "development"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    notes = [_failure(folder, development, miss) for miss in misses[:SHOWN]]
    told = {
        "verify": None if scores is None else scores.model_dump(mode="json", exclude={"version", "set_sha256"}),
        "reset": None if reset is None else reset.model_dump(mode="json"),
    }
    (folder / "scores.json").write_text(json.dumps(told, indent=1))
    (folder / "failures.json").write_text(json.dumps(notes, indent=1))


def _failure(folder: Path, development: LabelledSet, miss: Miss) -> dict[str, object]:
    item = development.item(miss.note)
    stored = item.evidence
    cameras = list(stored.cameras) or [""] * len(stored.frames_png)
    pictures = []
    for camera in dict.fromkeys(cameras):
        own = [number for number, name in enumerate(cameras) if name == camera]
        for number in sorted({own[0], own[-1]}):
            name = f"{miss.note.item}-{camera or 'camera'}-{number}.png"
            (folder / name).write_bytes(stored.frames_png[number])
            pictures.append(name)
    return {
        "item": miss.note.item,
        "label": "success" if miss.note.success else "failure",
        "value": miss.note.value,
        "kind": miss.kind,
        "said": miss.said,
        "verdict": None if miss.verdict is None else miss.verdict.model_dump(mode="json", exclude={"verifier_sha256"}),
        "observations": [{key: value.tolist() for key, value in row.items()} for row in stored.observations],
        "measures": dict(stored.measures),
        "pictures": pictures,
    }
