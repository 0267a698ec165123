"""The cells of the chaos runs: which fault on which process in which stage, and which of them are done."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nightlab.errors import UsageError

STAGES = ("literature", "propose", "train", "deploy", "rollout", "verify", "summarize")
EVERYWHERE = (
    "Prefect server",
    "fleet",
    "campaign flow",
    "station flow",
    "station server",
    "verifier",
    "recorder",
    "keeper",
)
"""Processes that live as long as the campaign: they exist in every stage."""
SOMEWHERE = {
    "policy": ("deploy", "rollout"), "trainer": ("train",), "researcher": ("propose",), "trial": ("rollout",),
}  # fmt: skip
VALID = [(process, stage) for process in EVERYWHERE for stage in STAGES]
VALID += [(process, stage) for process, stages in SOMEWHERE.items() for stage in stages]
STOPS = [
    ("Prefect server", "rollout"), ("fleet", "rollout"), ("campaign flow", "train"), ("station flow", "rollout"),
    ("station server", "rollout"), ("policy", "rollout"), ("trainer", "train"), ("researcher", "propose"),
    ("trial", "rollout"), ("verifier", "verify"), ("recorder", "summarize"), ("keeper", "rollout"),
]  # fmt: skip
CUTS = [
    ("Prefect server", "propose"), ("fleet", "train"), ("station flow", "rollout"), ("station server", "rollout"),
    ("trial", "rollout"), ("policy", "rollout"), ("verifier", "verify"), ("recorder", "summarize"), ("keeper", "rollout"),
]  # fmt: skip
FILLS = [
    ("Prefect server", "rollout"), ("keeper", "rollout"), ("recorder", "summarize"), ("trainer", "train"),
    ("researcher", "propose"), ("keeper", "summarize"),
]  # fmt: skip
SAMPLE = [
    "kill/policy/rollout", "kill/trial/rollout", "kill/station flow/train", "kill/keeper/rollout", "kill/verifier/verify",
    "kill/trainer/train", "kill/researcher/propose", "kill/recorder/summarize", "kill/station server/rollout",
    "kill/campaign flow/deploy",
]  # fmt: skip
"""Ten quick cells, for `make test`."""

Cell = tuple[str, str, str]


def all_cells(n: int) -> Counter[Cell]:
    """Every cell and how often it is hit."""
    wanted: Counter[Cell] = Counter({("kill", process, stage): n for process, stage in VALID})
    for fault, cells in (("stop", STOPS), ("disconnect", CUTS), ("fill", FILLS)):
        wanted.update({(fault, process, stage): 1 for process, stage in cells})
    return wanted


def recorded(out: Path) -> list[dict[str, Any]]:
    """The hits that `out` holds already."""
    return [json.loads(line) for line in out.read_text().splitlines()] if out.is_file() else []


def left(wanted: Counter[Cell], out: Path) -> Counter[Cell]:
    """Without the hits that `out` holds already and that were ok."""
    return wanted - Counter((hit["fault"], hit["process"], hit["stage"]) for hit in recorded(out) if hit["ok"])


def parse_cells(names: Iterable[str], n: int) -> Counter[Cell]:
    """`kill/keeper/rollout,…`, `sample`, `all`, or the name of a fault."""
    every = all_cells(n)
    found: Counter[Cell] = Counter()
    for name in names:
        if name == "all":
            found |= every
        elif name == "sample":
            found |= Counter({_cell(one): 1 for one in SAMPLE})
        elif any(cell[0] == name for cell in every):
            found |= Counter({cell: count for cell, count in every.items() if cell[0] == name})
        else:
            found[_cell(name)] = n
    return found


def _cell(name: str) -> Cell:
    parts = tuple(name.split("/"))
    known = [
        *((fault, *cell) for fault in ("kill", "stop", "disconnect") for cell in VALID),
        *(("fill", *f) for f in FILLS),
    ]
    if len(parts) != 3 or parts not in known:
        raise UsageError.unknown("cell", name, sorted({"/".join(cell) for cell in known})[:20], "--cells all")
    return parts
