"""Chaos: hits each process of a running campaign with a fault, in each stage where both exist, and checks what it does.

    python -m benchmarks.chaos --out chaos.jsonl                          # every cell: kill n = 3, others n = 1
    python -m benchmarks.chaos --cells "kill/policy/rollout" --n 1 --out one.jsonl
    python -m benchmarks.chaos --out chaos.jsonl --docs docs/chaos.md     # the table; what is ok there is not run again

A cell is fault/process/stage. Faults hit one campaign after the other's recovery was seen: the process is there again
(or its work is done by another one) and its station finishes further episodes. Every campaign must end by itself, and in
the end each episode that was ever durable stands once in the ledger and once in a shard. The exit status is 0 once every
cell is done and no hit on record failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import chaos_faults as faults
from benchmarks.chaos_cells import EVERYWHERE, SOMEWHERE, Cell, left, parse_cells, recorded
from benchmarks.chaos_lab import ROBOT, ChaosLab, Death, Findings, Motion, Open, audit
from benchmarks.chaos_table import write
from data.lab import Lab, default_config
from nightlab.processes import alive
from nightlab.records import LabConfig

DISKS = {
    "Prefect server": "prefect", "keeper": "spool", "recorder": "rollouts", "trainer": "checkpoints",
    "researcher": "worktrees",
}  # fmt: skip
"""Process class → the folder that it writes to, which is filled."""
HOLDERS = ("trial", "station flow", "fleet")
"""Their death is the death of whoever holds the station's lease: the trial, or those that it dies with."""
FULL_S = 10.0
"""How long a disk stays full, wall seconds."""
MOVES_S = 3.0
"""Longest wait until the holder of a lease moves its robot, wall seconds."""
MISSES = 12
"""Tries to hit a stage that is often over too soon."""
MISSED_S = 1.0
"""Pause after a fault that hit nothing, wall seconds."""
SILENT = ("Prefect server", "fleet", "campaign flow")
"""They leave nothing in ledger or shards by which one could tell when they serve again: the campaign's end tells."""


class Missed(Exception):
    """The fault hit nothing; the message says why."""


def sign(process: str, stage: str, station: str) -> tuple[str, str] | None:
    """What shows that a process works again whose connections were cut or whose disk was full; None: nothing does.

    Returns:
        A key of `ChaosLab.latest`: what must be newer than the fault. An episode that began after it needs station
        server, trial, policy, verifier and keeper.
    """
    if process in SILENT:
        return None
    own = {
        "station flow": ("stage", station), "recorder": ("shard", ""), "trainer": ("finished", stage),
        "researcher": ("finished", stage),
    }  # fmt: skip
    return own.get(process, ("episode", station))


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
                back = "" if hit["back_s"] is None else f", back after {hit['back_s']:.1f} s"
                self.say(f"{'/'.join(chance[0])}: {state}{back}; {left} left")
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
        fault_s = time.time()
        try:
            spare = self._inject(fault, process, pid)
        except Missed as missed:
            if motion is not None:
                motion.close()
            self._missed(cell, str(missed))
            time.sleep(MISSED_S)
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
            if process != "trial" and stopped_s is not None:  # the kernel kills the trial next, unless it lives on
                motion_s = None if death.wall_s is None else max(0.0, fault_s + stopped_s - death.wall_s)
        if self.lab.ended.get(at.mark, float("inf")) <= fault_s:
            self._missed(cell, "the stage was over before the fault came")
            return None
        bound_s = 3 * period_s + 0.05
        if fault == "kill" and motion_s is not None and motion_s > bound_s:
            why = why or f"motion went on for {motion_s:.3f} s, allowed {bound_s:.3f} s"
        self.wanted -= Counter({cell: 1})
        return {
            "fault": fault, "process": process, "stage": stage, "ok": not why, "why": why,
            "back_s": None if back_s is None else round(back_s, 2),
            "motion_s": None if motion_s is None else round(motion_s, 4), "motion_bound_s": round(bound_s, 4),
            "stopped_s": None if stopped_s is None else round(stopped_s, 4),
            "speed": self.lab.speed, "wall_s": fault_s,
        }  # fmt: skip

    def _inject(self, fault: str, process: str, pid: int) -> Path | None:
        """Make the fault happen; for a full disk, the file that fills it.

        Raises:
            Missed: nothing happened.
        """
        if fault == "fill":
            folder = self.lab.path / DISKS[process]
            spare = faults.fill(folder)
            if not faults.full(folder):
                spare.unlink()
                raise Missed(f"{folder} could not be filled")
            return spare
        try:
            if fault == "disconnect":
                if not faults.disconnect(pid):
                    raise Missed("it had no connection to cut")
            else:
                {"kill": faults.kill, "stop": faults.stop}[fault](pid)
        except ProcessLookupError:
            raise Missed("the process was gone before the fault came") from None
        return None

    def _missed(self, cell: Cell, why: str) -> None:
        self.misses[cell] += 1
        if self.misses[cell] >= MISSES:
            self.say(f"{'/'.join(cell)}: {MISSES} faults hit nothing, the last because {why}; given up")
            del self.wanted[cell]

    def _recovered(self, cell: Cell, at: Open, pid: int, since_s: float) -> tuple[str, float | None]:
        """Wait until the campaign goes on.

        Returns:
            What is wrong (empty: nothing), and how long it took until the process, or who took its place, did its work
            again; None where nothing but the campaign's end shows that.
        """
        fault, process, stage = cell
        station = at.station or ROBOT
        latest = self.lab.latest
        begin_s, step, back_s = time.monotonic(), "its replacement", None
        replaced = fault in ("disconnect", "fill")
        shows = (
            sign(process, stage, station) if replaced else ("shard", "") if process == "recorder" else ("row", station)
        )
        while time.monotonic() - begin_s < self.patience_s:
            if not self.lab.running:
                return ("" if self.lab.wait(1.0) == 0 else "the campaign died"), back_s
            self.lab.look()
            if not replaced:
                again = pid if alive(pid) else None if process in SOMEWHERE else self.lab.find(process, at)
                replaced = again != pid and (again is not None or process in SOMEWHERE)
                since_s = time.time()
            else:
                shown = shows is None or latest.get(shows, 0.0) > since_s
                if shows is not None and shown and back_s is None:
                    back_s = time.monotonic() - begin_s
                goes_on = latest.get(("row", station), 0.0) > since_s
                if shown and goes_on:
                    return "", back_s
                step = " ".join(("the next", *shows)) if shows is not None and not shown else f"an episode of {station}"
            time.sleep(0.02)
        return f"no recovery within {self.patience_s:.0f} s: waited for {step.strip()}", back_s

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the module; returns the exit status: 1 if a hit failed or a cell is not done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON lines, one per hit; what is there is not done again"
    )
    parser.add_argument(
        "--cells", default="all", help="all, sample, kill, stop, disconnect, fill, or fault/process/stage,…"
    )
    parser.add_argument("--n", type=int, default=3, help="hits per cell of SIGKILL")
    parser.add_argument("--lab", type=Path, help="must not exist, is kept; default: in the temporary folder")
    parser.add_argument("--keep", action="store_true", help="keep the labs; else only those stay whose hits failed")
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
    begin_s = time.monotonic()
    path = asked.lab or Path(tempfile.gettempdir()) / f"nightlab-chaos-{os.getpid()}" / "chaos"
    hits: list[dict[str, Any]] = []
    for name, some in (("lab", _only(wanted, fill=False)), ("full", _only(wanted, fill=True))):
        if some:
            path.parent.mkdir(parents=True, exist_ok=True)
            lab = path.with_name(f"{path.name}-{name}")
            mine = chaos(
                lab, some, asked.out, stations=asked.stations, speed=asked.speed,
                budget_s=asked.budget, limit_s=asked.limit, patience_s=asked.patience,
                say=lambda line: print(time.strftime("%H:%M:%S"), line, flush=True),
            )  # fmt: skip
            hits += mine
            if mine and all(hit["ok"] for hit in mine) and not (asked.keep or asked.lab):
                _remove(lab)
            else:
                print(f"the lab stays at {lab}")
    if asked.docs:
        write(asked.out, asked.docs)
    bad, missing = [hit for hit in recorded(asked.out) if not hit["ok"]], left(every, asked.out)
    print(f"{len(hits)} hits in {time.monotonic() - begin_s:.0f} s, {sum(missing.values())} left")
    if bad:
        print(f"{len(bad)} hits in {asked.out} failed; take their lines out once they are understood", file=sys.stderr)
    if missing:
        names = sorted("/".join(cell) for cell in missing)
        print(f"{len(names)} cells are not done: {', '.join(names[:5])}. Run the same command again", file=sys.stderr)
    return 1 if bad or missing else 0


def _remove(lab: Path) -> None:
    """Remove a lab with its small disks and its log, and the folder around it if nothing else is in there."""
    faults.drop_disks(lab)
    shutil.rmtree(lab, ignore_errors=True)
    lab.with_name(f"{lab.name}.run.log").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        lab.parent.rmdir()


if __name__ == "__main__":
    sys.exit(main())
