"""Chaos: hits each process of a running campaign with a fault, in each stage where both exist, and checks what it does.

    python -m benchmarks.chaos --out chaos.jsonl                          # every cell: kill n = 3, others n = 1
    python -m benchmarks.chaos --cells "kill/policy/rollout" --n 1 --out one.jsonl
    python -m benchmarks.chaos --out chaos.jsonl --docs docs/chaos.md     # the table; cells that are there are not run again

A cell is fault/process/stage. Faults hit one campaign after the other's recovery was seen: the process is there again
(or its work is done by another one) and its station finishes further episodes. Every campaign must end by itself, and in
the end each episode that was ever durable stands once in the ledger and once in a shard.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import chaos_faults as faults
from benchmarks.chaos_lab import ROBOT, ChaosLab, Death, Findings, Motion, Open, audit
from benchmarks.chaos_table import write
from data.lab import Lab, default_config
from nightlab.errors import UsageError
from nightlab.processes import alive
from nightlab.records import LabConfig

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
DISKS = {
    "Prefect server": "prefect", "keeper": "spool", "recorder": "rollouts", "trainer": "checkpoints",
    "researcher": "worktrees",
}  # fmt: skip
"""Process class → the folder that it writes to, which is filled."""
SAMPLE = [
    "kill/policy/rollout", "kill/trial/rollout", "kill/station flow/train", "kill/keeper/rollout", "kill/verifier/verify",
    "kill/trainer/train", "kill/researcher/propose", "kill/recorder/summarize", "kill/station server/rollout",
    "kill/campaign flow/deploy",
]  # fmt: skip
"""Ten quick cells, for `make test`."""
HOLDERS = ("trial", "station flow", "fleet")
"""Their death is the death of whoever holds the station's lease: the trial, or those that it dies with."""
FULL_S = 10.0
"""How long a disk stays full, wall seconds."""
MOVES_S = 3.0
"""Longest wait until the holder of a lease moves its robot, wall seconds."""
MISSES = 12
"""Tries to hit a stage that is often over too soon."""

Cell = tuple[str, str, str]


def all_cells(n: int) -> Counter[Cell]:
    """Every cell and how often it is hit."""
    wanted: Counter[Cell] = Counter({("kill", process, stage): n for process, stage in VALID})
    for fault, cells in (("stop", STOPS), ("disconnect", CUTS), ("fill", FILLS)):
        wanted.update({(fault, process, stage): 1 for process, stage in cells})
    return wanted


class Chaos:
    """Goes through the cells on one lab."""

    def __init__(self, lab: ChaosLab, wanted: Counter[Cell], out: Path, *, patience_s: float, say: Any) -> None:
        self.lab, self.wanted, self.out, self.patience_s, self.say = lab, wanted, out, patience_s, say
        self.draw = random.Random(1)
        self.durable: set[str] = set()
        self.misses: Counter[Cell] = Counter()
        self.campaigns = 0

    def run(self, deadline_s: float) -> list[dict[str, Any]]:
        """Campaign after campaign until every cell is done or the time is up; one line of `out` per hit."""
        hits: list[dict[str, Any]] = []
        while self.wanted and time.monotonic() < deadline_s:
            self.lab.start()
            self.campaigns += 1
            mine = self._one_campaign(deadline_s)
            code = self.lab.wait(self.lab.budget_s + 600.0)
            if code != 0:
                self.say(f"campaign {self.campaigns} ended with {code}; see {self.lab.log_path}")
                self.lab.down()
            found = audit(self.lab.path, self.durable)
            self._tell(found)
            for hit in mine:
                hit |= {
                    "campaign": self.campaigns,
                    "run_exit": code,
                    "lost": len(found.lost),
                    "twice": len(found.twice),
                }
                hit["ok"] = hit["ok"] and code == 0 and not (found.lost or found.twice or found.unfinished)
            with self.out.open("a") as file:
                file.writelines(json.dumps(hit) + "\n" for hit in mine)
            hits += mine
            if code != 0 and not mine:
                break  # it does not even start
        return hits

    def _one_campaign(self, deadline_s: float) -> list[dict[str, Any]]:
        hits: list[dict[str, Any]] = []
        self._quiet(40.0)
        while self.lab.running and self.wanted and time.monotonic() < deadline_s:
            chance = self._chance()
            if chance is None:
                time.sleep(0.003)
                continue
            hit = self._hit(*chance)
            if hit is not None:
                hits.append(hit)
                state = "ok" if hit["ok"] else f"NOT OK: {hit['why']}"
                left = sum(self.wanted.values())
                self.say(f"{'/'.join(chance[0])}: {state}, back after {hit['back_s']:.1f} s; {left} left")
        return hits

    def _chance(self) -> tuple[Cell, Open, int] | None:
        """A cell that is still wanted and possible at this moment: the stage is open, the process is there."""
        stages = [one for one in self.lab.look() if time.time() - one.since_s < 300]
        self.draw.shuffle(stages)
        for one in stages:
            cells = [cell for cell in self.wanted if cell[2] == one.stage]
            self.draw.shuffle(cells)
            for cell in sorted(cells, key=lambda cell: cell[1] in EVERYWHERE):
                pid = self.lab.find(cell[1], one)
                if pid is None or (cell[1] == "station server" and one.station != ROBOT):
                    continue
                if one.stage == "rollout" and time.time() - one.since_s < 1.5:
                    continue  # let it move first
                if one.stage == "rollout" and cell[1] in HOLDERS and one.iteration not in self.lab.moving.values():
                    continue  # it waits for its turn at a robot: its death would stop nothing
                return cell, one, pid
        return None

    def _hit(self, cell: Cell, at: Open, pid: int) -> dict[str, Any] | None:
        """Inject one fault and wait for the recovery; None if the stage was over before the fault came."""
        fault, process, stage = cell
        period_s = 1.0 / (10.0 * (float(self.lab.speed) if self.lab.speed != "max" else 10.0))
        self.durable |= self.lab.durable()
        motion: Motion | None = None
        death: Death | None = None
        if fault != "fill" and process in HOLDERS and stage == "rollout":
            motion = Motion(self.lab.addresses())
            holder = self.lab.find("trial", at)
            deadline_s = time.monotonic() + MOVES_S
            while not motion.moving(at.iteration, 1.5 * period_s + 0.01) and time.monotonic() < deadline_s:
                time.sleep(0.001)
            if holder is None or time.monotonic() >= deadline_s:
                motion.close()
                return None
            death = Death(holder)
        fault_s, spare = time.time(), None
        try:
            if fault == "fill":
                spare = faults.fill(self.lab.path / DISKS[process])
            else:
                {"kill": faults.kill, "stop": faults.stop, "disconnect": faults.disconnect}[fault](pid)
        except ProcessLookupError:
            self._missed(cell)
            return None
        done_s = time.time()
        if spare is not None:
            time.sleep(FULL_S)
            spare.unlink()
            done_s = time.time()
        why, back_s = self._recovered(cell, at, pid, done_s)
        stopped_s: float | None = None
        motion_s: float | None = None
        if motion is not None and death is not None:
            motion.close()
            stopped_s = motion_s = motion.stopped_after(fault_s, at.iteration)
            if process != "trial" and stopped_s is not None and death.wall_s is not None:  # the kernel kills it next
                motion_s = max(0.0, fault_s + stopped_s - death.wall_s)
        if self.lab.ended.get(at.mark, float("inf")) <= fault_s:
            self._missed(cell)
            return None
        bound_s = 3 * period_s + 0.05
        if fault == "kill" and motion_s is not None and motion_s > bound_s:
            why = why or f"motion went on for {motion_s:.3f} s, allowed {bound_s:.3f} s"
        self.wanted -= Counter({cell: 1})
        return {
            "fault": fault, "process": process, "stage": stage, "ok": not why, "why": why, "back_s": round(back_s, 2),
            "motion_s": None if motion_s is None else round(motion_s, 4), "motion_bound_s": round(bound_s, 4),
            "stopped_s": None if stopped_s is None else round(stopped_s, 4),
            "speed": self.lab.speed, "wall_s": fault_s,
        }  # fmt: skip

    def _missed(self, cell: Cell) -> None:
        self.misses[cell] += 1
        if self.misses[cell] >= MISSES:
            self.say(f"{'/'.join(cell)}: the stage was over {MISSES} times before the fault came; given up")
            del self.wanted[cell]

    def _recovered(self, cell: Cell, at: Open, pid: int, since_s: float) -> tuple[str, float]:
        """Wait until the campaign goes on. Returns what is wrong (empty: nothing) and how long it took."""
        fault, process, _ = cell
        station = at.station or ROBOT
        self.lab.look()
        shards = self.lab.news["shard", ""]
        begin_s, step = time.monotonic(), "its replacement"
        replaced = fault in ("disconnect", "fill")
        while time.monotonic() - begin_s < self.patience_s:
            if not self.lab.running:
                return ("", time.monotonic() - begin_s) if self.lab.wait(1.0) == 0 else ("the campaign died", 0.0)
            self.lab.look()
            if not replaced:
                again = pid if alive(pid) else None if process in SOMEWHERE else self.lab.find(process, at)
                replaced = again != pid and (again is not None or process in SOMEWHERE)
                since_s = time.time()
            elif any(where == station and wall_s > since_s for _, where, wall_s in self.lab.episodes[-50:]):
                step = "a shard"
                if process != "recorder" or self.lab.news["shard", ""] > shards:
                    return "", time.monotonic() - begin_s
            else:
                step = f"an episode of {station}"
            time.sleep(0.02)
        return f"no recovery within {self.patience_s:.0f} s: waited for {step}", time.monotonic() - begin_s

    def _quiet(self, timeout_s: float) -> None:
        """Wait until the campaign runs."""
        begin_s, before = time.monotonic(), len(self.lab.episodes)
        while time.monotonic() - begin_s < max(timeout_s, self.patience_s) and self.lab.running:
            self.lab.look()
            if len(self.lab.episodes) > before + 1:
                return
            time.sleep(0.1)

    def _tell(self, found: Findings) -> None:
        self.say(
            f"{found.episodes} episodes; lost {found.lost or 'none'}; twice {found.twice or 'none'}; campaigns without "
            f"an end {found.unfinished or 'none'}"
        )


def chaos(
    path: Path, wanted: Counter[Cell], out: Path, *, stations: int = 2, speed: str = "20", budget_s: float = 240.0,
    limit_s: float = 3 * 3600.0, patience_s: float = 180.0, seed: int = 1, say: Any = print,
) -> list[dict[str, Any]]:  # fmt: skip
    """Run the cells on a fresh lab at `path` and append a line per hit to `out`.

    Args:
        path: The lab; must not exist.
        wanted: How often each cell (fault, process, stage) is to be hit.
        out: JSON lines.
        stations: Simulated Push-T stations.
        speed: Of the stations, times real time.
        budget_s: Of each campaign, wall seconds.
        limit_s: No further campaign after that, wall seconds.
        patience_s: Longest wait for a recovery.
        seed: Of the campaigns.
        say: Gets a line per hit.
    """
    factor = 0.0 if speed == "max" else float(speed)
    config = default_config("push_t", stations, "nominal", factor)
    places = tuple(
        place.model_copy(update={"station_seed": 1000 * seed + number})
        for number, place in enumerate(config.stations, 1)
    )
    Lab.create(path, LabConfig(environment="push_t", stations=places))
    if any(cell[0] == "fill" for cell in wanted):
        faults.small_disks(path)
    lab = ChaosLab(path, stations=stations, speed=speed, budget_s=budget_s, seed=seed)
    try:
        return Chaos(lab, wanted, out, patience_s=patience_s, say=say).run(time.monotonic() + limit_s)
    finally:
        lab.down()


def _only(wanted: Counter[Cell], *, fill: bool) -> Counter[Cell]:
    """Cells with a full disk run on a lab of their own, whose folders lie on small disks."""
    return Counter({cell: count for cell, count in wanted.items() if (cell[0] == "fill") == fill})


def left(wanted: Counter[Cell], out: Path) -> Counter[Cell]:
    """Without the hits that `out` holds already."""
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.is_file() else []
    return wanted - Counter((line["fault"], line["process"], line["stage"]) for line in lines)


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the module; returns the exit status: 1 if a cell was not ok."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON lines, one per hit; what is there is not done again"
    )
    parser.add_argument(
        "--cells", default="all", help="all, sample, kill, stop, disconnect, fill, or fault/process/stage,…"
    )
    parser.add_argument("--n", type=int, default=3, help="hits per cell of SIGKILL")
    parser.add_argument("--lab", type=Path, help="must not exist; default: in the temporary folder")
    parser.add_argument("--speed", default="20")
    parser.add_argument("--stations", type=int, default=2)
    parser.add_argument("--budget", type=float, default=240.0, help="wall seconds per campaign")
    parser.add_argument("--patience", type=float, default=180.0, help="longest wait for a recovery, wall seconds")
    parser.add_argument("--limit", type=float, default=10800.0, help="no new campaign after so many wall seconds")
    parser.add_argument("--docs", type=Path, help="write the table of all of --out there")
    asked = parser.parse_args(arguments)
    every = parse_cells(asked.cells.split(","), asked.n)
    wanted = left(every, asked.out)
    if any(cell[0] == "fill" for cell in wanted):
        if not faults.can_mount():
            print("full disks need root and mount namespaces: those cells are left out", file=sys.stderr)
            wanted = Counter({cell: count for cell, count in wanted.items() if cell[0] != "fill"})
        elif os.environ.get("NIGHTLAB_CHAOS_INSIDE") != "1":  # again, in a mount namespace that ends with it
            again = [sys.executable, "-m", "benchmarks.chaos", *(sys.argv[1:] if arguments is None else arguments)]
            environment = {**os.environ, "NIGHTLAB_CHAOS_INSIDE": "1"}
            os.execvpe("unshare", ["unshare", "--mount", *again], environment)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # its lab goes down with it, as it does on Ctrl-C
    begin_s, path = (
        time.monotonic(),
        asked.lab or Path(tempfile.gettempdir()) / f"nightlab-chaos-{os.getpid()}" / "chaos",
    )
    hits: list[dict[str, Any]] = []
    for name, some in (("lab", _only(wanted, fill=False)), ("full", _only(wanted, fill=True))):
        if some:
            path.parent.mkdir(parents=True, exist_ok=True)
            hits += chaos(
                path.with_name(f"{path.name}-{name}"), some, asked.out, stations=asked.stations, speed=asked.speed,
                budget_s=asked.budget, limit_s=asked.limit, patience_s=asked.patience,
                say=lambda line: print(time.strftime("%H:%M:%S"), line, flush=True),
            )  # fmt: skip
    if asked.docs:
        write(asked.out, asked.docs)
    bad = [hit for hit in hits if not hit["ok"]]
    print(
        f"{len(hits)} hits in {time.monotonic() - begin_s:.0f} s, {len(bad)} not ok, {sum(left(every, asked.out).values())} left"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
