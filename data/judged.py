"""The folder of judged frames beside a shard: `0.png`, `0.depth.png`, …, `observations.json`, `evidence.json`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from nightlab.contracts import StoredEvidence

OBSERVATIONS, EVIDENCE = "observations.json", "evidence.json"


def write_judged(folder: Path, stored: StoredEvidence) -> None:
    """Write what was judged of one episode into an empty folder."""
    for number, png in enumerate(stored.frames_png):
        (folder / f"{number}.png").write_bytes(png)
    for number, png in enumerate(stored.depths_png):
        if png:
            (folder / f"{number}.depth.png").write_bytes(png)
    seen = [{key: np.asarray(value).tolist() for key, value in row.items()} for row in stored.observations]
    (folder / OBSERVATIONS).write_text(json.dumps(seen))
    notes = {"cameras": list(stored.cameras), "seqs": list(stored.seqs), "measures": dict(stored.measures)}
    (folder / EVIDENCE).write_text(json.dumps(notes))


def reset_file(label: str) -> str:
    """Name of the file that keeps one picture of the reset, by what it shows: `before top` → `reset-before-top.jpg`."""
    return f"reset {label}.jpg".replace(" ", "-")


def read_judged(folder: Path) -> StoredEvidence:
    """What `write_judged` wrote, also where an earlier version did, without `evidence.json`."""
    frames: list[bytes] = []
    depths: list[bytes] = []
    while (path := folder / f"{len(frames)}.png").is_file():
        depth = folder / f"{len(frames)}.depth.png"
        frames.append(path.read_bytes())
        depths.append(depth.read_bytes() if depth.is_file() else b"")
    rows = json.loads((folder / OBSERVATIONS).read_text())
    notes = json.loads((folder / EVIDENCE).read_text()) if (folder / EVIDENCE).is_file() else {}
    return StoredEvidence(
        frames_png=frames,
        observations=[{key: np.array(value, np.float64) for key, value in row.items()} for row in rows],
        cameras=notes.get("cameras", []),
        seqs=notes.get("seqs", []),
        depths_png=depths if any(depths) else [],
        measures=notes.get("measures", {}),
    )
