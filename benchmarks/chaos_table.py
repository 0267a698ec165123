"""docs/chaos.md from the lines of `benchmarks.chaos`."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

HEAD = """# Chaos: what happens when a process dies, hangs, loses its connections or its disk

This page is written by `python -m benchmarks.chaos --out FILE --docs docs/chaos.md`. A cell is a fault on a process in a
stage. ok: the campaign recovered and ended by itself, no episode that was durable was lost, none stands twice in the
ledger or in a shard or was scored twice, and, where the holder of the lease was killed while its robot moved, motion
stopped within three control periods and 50 ms (wall clock). All of it, `make chaos`, took 66 minutes on 2 cores (n = 1), goes on
where it was stopped, and exits with 0 once every cell is done and no hit on record failed; ten of the cells are in
`make test`. Single cells: `python -m benchmarks.chaos --help`.

| fault | how |
|---|---|
| kill | SIGKILL |
| stop | SIGSTOP, and nobody continues it: its heartbeat falls silent, it is killed and started again |
| disconnect | every TCP and Unix connection of the process is shut down from outside; where there is none, nothing is counted |
| fill | the disk that it writes to (a tmpfs) is filled to the last byte, which is checked, for 10 s |

back after: of a process that was killed or stopped, until another one did its work (recorder: a shard; others: the station's
next episode). One that was cut off, or whose disk was full, goes on by itself, and so does much else; what counts is work of
its own that began afterwards: an episode for station server, trial, policy, verifier and keeper, a shard for the recorder, a
stage event for the station flow, a finished stage for trainer and researcher. Prefect server, fleet and campaign flow leave no
such sign: the column is empty, and what shows that they recovered is that the campaign ended by itself.

Campaign flow and trial (the process that holds the station's lease) are here beside the classes that are named elsewhere.
A policy that dies is its own failure: the episode counts as FAILURE, the campaign goes on. A trial that is stopped, not dead,
sends nothing more: after three late control periods (of real time, 0.1 s each) its robot holds. One whose station flow was
cut off goes on with its episode.
"""


def write(source: Path, target: Path) -> None:
    """Write the page from all hits in `source`."""
    hits = [json.loads(line) for line in source.read_text().splitlines()]
    target.write_text(page(hits))


def page(hits: list[dict[str, Any]]) -> str:
    """The page as text."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for hit in hits:
        groups[hit["fault"], hit["process"], hit["stage"]].append(hit)
    good = sum(hit["ok"] for hit in hits)
    killed = [cell for cell in groups if cell[0] == "kill"]
    enough = sum(len(groups[cell]) >= 3 for cell in killed)
    moved = [hit["motion_s"] for hit in hits if hit["fault"] == "kill" and hit["motion_s"] is not None]
    lines = [HEAD]
    lines.append(
        f"{len(hits)} hits on {len(groups)} cells, {good} ok; SIGKILL on {len(killed)} cells, {enough} of them n ≥ 3; other "
        f"faults on {len(groups) - len(killed)} cells."
    )
    if moved:
        lines.append(
            f"Motion after the death of the lease's holder (the trial): n = {len(moved)}, longest {1000 * max(moved):.0f} ms. It "
            "dies with its station flow and with the fleet; the last column says how long that took and the motion after it."
        )
    lines += [
        "",
        "| fault | process | stage | n | ok | back after (s, median, longest) | "
        "motion after the holder's death (ms, longest) | after the fault |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (fault, process, stage), some in sorted(groups.items()):
        backs = sorted(hit["back_s"] for hit in some if hit["back_s"] is not None)
        back = f"{backs[len(backs) // 2]:.1f}, {backs[-1]:.1f}" if backs else ""
        moving, stopped = (_longest_ms(some, key) for key in ("motion_s", "stopped_s"))
        lines.append(
            f"| {fault} | {process} | {stage} | {len(some)} | {sum(hit['ok'] for hit in some)} | "
            f"{back} | {moving} | {stopped} |"
        )
    bad = [hit for hit in hits if not hit["ok"]]
    if bad:
        lines += ["", "Not ok:", ""]
        lines += [f"- {hit['fault']}/{hit['process']}/{hit['stage']}: {hit['why'] or 'see the audit'}" for hit in bad]
    return "\n".join(lines) + "\n"


def _longest_ms(hits: list[dict[str, Any]], key: str) -> str:
    found = [hit[key] for hit in hits if hit.get(key) is not None]
    return f"{1000 * max(found):.0f}" if found else ""
